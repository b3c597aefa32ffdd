package origin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/time/rate"

	"github.com/shoal-project/shoal/distribution"
)

// mirrorRest is how long a mirror that did not answer is left alone, so that a
// dead one costs its time-out once and not with every request.
const mirrorRest = 30 * time.Second

// mirrorTimeout bounds the wait for the head of a mirror's answer.
const mirrorTimeout = 3 * time.Second

// registry is one origin with its mirrors, and everything that its requests
// share: slots, rates, the pause that it asked for.
type registry struct {
	name      string
	endpoints []*endpoint // the mirrors in order; the registry itself is last
	node      authn.Authenticator
	lend      bool
	timeout   time.Duration
	slots     *slots        // for blobs and manifests
	quick     *slots        // for forwarded requests and HEAD
	bytes     *rate.Limiter // nil: no bound
	requests  *rate.Limiter // nil: no bound
	metrics   *Metrics
	notBefore atomic.Int64 // Unix nanoseconds; 0: now
}

// endpoint is one base URL, ending in /v2 or under it.
type endpoint struct {
	base       *url.URL
	mirror     bool
	trusted    bool
	configured bool
	ns         string
	timeout    time.Duration
	transport  http.RoundTripper
	challenge  atomic.Pointer[challenge] // the last one heard, without its scope
	rest       atomic.Int64              // Unix nanoseconds until which to expect nothing of it
}

func newRegistry(cfg Config, name string, entry Registry, configured bool, m *Metrics) (*registry, error) {
	r := &registry{
		name: name, lend: entry.LendCredentials, timeout: cfg.Timeout,
		slots: newSlots(cfg.MaxConnections-cfg.MaxConnections/4, m), metrics: m,
	}
	r.quick = r.slots
	if n := cfg.MaxConnections / 4; n > 0 {
		r.quick = newSlots(n, m)
	}
	if entry.RateLimit > 0 {
		r.bytes = rate.NewLimiter(rate.Limit(entry.RateLimit), int(min(max(entry.RateLimit, 64<<10), 4<<20)))
	}
	if entry.RequestLimit > 0 {
		r.requests = rate.NewLimiter(rate.Limit(entry.RequestLimit), max(1, int(entry.RequestLimit)))
	}
	r.node = nodeAuth(cfg, entry, name)
	for _, s := range entry.Mirrors {
		u, err := parseMirror(s)
		if err != nil {
			return nil, fmt.Errorf("origin.registries %s: %w", name, err)
		}
		r.endpoints = append(r.endpoints, &endpoint{base: u, mirror: true, trusted: entry.TrustMirror, ns: name})
	}
	r.endpoints = append(r.endpoints, &endpoint{base: ownBase(name, entry.PlainHTTP), trusted: true})
	for _, ep := range r.endpoints {
		ep.configured, ep.timeout = configured, cfg.Timeout
		if ep.mirror {
			ep.timeout = min(cfg.Timeout, mirrorTimeout)
		}
	}
	return r, nil
}

func ownBase(name string, plain *bool) *url.URL {
	u := &url.URL{Scheme: "https", Host: name, Path: "/v2"}
	if name == hubName {
		u.Host = hubEndpoint
	}
	if plain != nil && *plain || plain == nil && loopbackName(name) {
		u.Scheme = "http"
	}
	return u
}

// admit waits for the pause that the registry asked for, and for the limit on
// requests. Mirrors did not ask for the pause.
func (q *call) admit(ctx context.Context, ep *endpoint) error {
	if !ep.mirror {
		until := time.Unix(0, q.reg.notBefore.Load())
		if rest := time.Until(until); q.hurried && rest > hurry {
			return &distribution.OriginError{
				Status: http.StatusTooManyRequests, Code: "TOOMANYREQUESTS",
				Message: fmt.Sprintf("the registry asked for no request before %s have passed", rest.Round(time.Second)),
			}
		}
		if err := sleep(ctx, time.Until(until)); err != nil {
			return err
		}
	}
	if q.reg.requests == nil {
		return nil
	}
	return q.reg.requests.Wait(ctx)
}

// pause keeps every request to the registry waiting for d.
func (r *registry) pause(d time.Duration) {
	until := time.Now().Add(d).UnixNano()
	for {
		old := r.notBefore.Load()
		if old >= until || r.notBefore.CompareAndSwap(old, until) {
			return
		}
	}
}

func (e *endpoint) resting() bool { return time.Now().UnixNano() < e.rest.Load() }

func (e *endpoint) restFor(d time.Duration) { e.rest.Store(time.Now().Add(d).UnixNano()) }

// target is the URL of a path of a repository here.
func (e *endpoint) target(repository, path string, query url.Values) *url.URL {
	u := *e.base
	u.Path += "/" + repository + "/" + path
	q := url.Values{}
	for k, v := range query {
		q[k] = v
	}
	q.Del("ns")
	if e.mirror {
		q.Set("ns", e.ns)
	}
	u.RawQuery = q.Encode()
	return &u
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
