package registryproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// Proxy is the handler.
type Proxy struct {
	cfg       Config
	objects   distribution.Objects
	up        upstream
	log       *slog.Logger
	metrics   *Metrics
	now       func() time.Time
	canonical func(string) (string, error)
	login     *login
	state     *state
	access    *access
	tags      *tags
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

var _ http.Handler = (*Proxy)(nil)

// Option changes what [New] makes.
type Option func(*Proxy)

// WithCanonical names registries canonically, as distribution.Source wants
// them. An error refuses the request.
func WithCanonical(f func(host string) (string, error)) Option {
	return func(p *Proxy) { p.canonical = f }
}

// WithClock tells the time to whatever expires.
func WithClock(now func() time.Time) Option { return func(p *Proxy) { p.now = now } }

// New makes a proxy. Close ends it.
func New(cfg Config, objects distribution.Objects, origin distribution.Forwarder, log *slog.Logger, m *Metrics, opts ...Option) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("registry proxy: %w", err)
	}
	state, err := openState(cfg.StateDir, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		cfg: cfg, objects: objects, log: log, metrics: m, state: state, stop: stop,
		up:  upstream{origin: origin, header: cfg.OriginTimeout, stall: cfg.StallTimeout, tokens: newLRU[string, struct{}](maxTokenRegistries)},
		now: time.Now, canonical: canonical,
	}
	for _, o := range opts {
		o(p)
	}
	if p.login, err = newLogin(p.now); err != nil {
		stop()
		return nil, errors.Join(err, state.close())
	}
	p.access = &access{
		up: p.up, state: state, now: p.now, fresh: cfg.AuthCache, stale: cfg.StaleAuth, staleWait: cfg.StaleWait, secret: newSecret(),
		grants: newLRU[grant, time.Time](maxGrants), confirmed: newLRU[member, struct{}](maxConfirmed),
		resting: newLRU[string, time.Time](maxResting), asking: newFlights[reply](ctx, &p.wg), metrics: m,
	}
	probes := &probes{ctx: ctx, wg: &p.wg, access: p.access, asked: newLRU[repo, time.Time](maxRecords)}
	p.tags = &tags{up: p.up, state: state, access: p.access, probes: probes, now: p.now, asking: newFlights[resolution](ctx, &p.wg), metrics: m}
	p.wg.Go(func() { state.run(ctx) })
	return p, nil
}

// Close ends questions to origins and writes what is remembered. The server is
// shut down first.
func (p *Proxy) Close() error {
	p.stop()
	p.wg.Wait()
	return p.state.close()
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	c := &call{Proxy: p, ctx: ctx, w: w, r: r, began: time.Now()}
	defer c.finish()
	c.serve()
}
