package registryproxy

import (
	"context"
	"sync"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// probeEvery is how often at most a repository is probed.
const probeEvery = 10 * time.Minute

// probes find out, beside the work, whether a repository that somebody read
// with credentials is public. Tokens change every few minutes, and when an
// origin is down nobody can get one: what was public then is the only thing
// that may still be served to a stranger.
type probes struct {
	ctx    context.Context // ends with the proxy
	wg     *sync.WaitGroup // the proxy waits for it
	access *access
	asked  *lru[repo, time.Time]
}

// consider repeats a request that was accepted, as nobody. The caller runs in a
// goroutine that wg counts.
func (p *probes) consider(r repo, req distribution.Request) {
	now := p.access.now()
	if at, ok := p.asked.get(r); ok && within(now, at, probeEvery) {
		return
	}
	p.asked.put(r, now)
	p.wg.Go(func() {
		req.Authorization = ""
		req.Header.Del("If-None-Match")
		ans := p.access.up.head(p.ctx, req)
		switch {
		case ans.verdict() == allowed:
			p.access.accept(r, credential{})
		case ans.denies():
			p.access.refuse(r, credential{})
		}
	})
}
