package origin

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/shoal-project/shoal/distribution"
)

// Bounds on what names from the network can make a client remember.
const (
	maxRegistries = 256
	maxSessions   = 1024
)

// Client reads registries.
type Client struct {
	cfg        Config
	log        *slog.Logger
	metrics    *Metrics
	configured map[string]*registry
	others     *lru[string, *registry]
	sessions   *lru[sessionKey, *session]
	transports []*http.Transport
	open       *http.Transport // for registries that are not configured
}

var (
	_ distribution.Origin    = (*Client)(nil)
	_ distribution.Forwarder = (*Client)(nil)
)

// New makes a client. It reads CA files, and talks to nobody yet.
func New(cfg Config, log *slog.Logger, m *Metrics) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, log: log, metrics: m,
		configured: map[string]*registry{},
		others:     newLRU[string, *registry](maxRegistries),
		sessions:   newLRU[sessionKey, *session](maxSessions),
	}
	for _, entry := range cfg.Registries {
		if err := c.configure(entry); err != nil {
			return nil, err
		}
	}
	var err error
	c.open, err = c.transport(nil, false, "")
	return c, err
}

// configure adds a registry of the configuration, with a transport of its own:
// what its entry permits holds for nothing else.
func (c *Client) configure(entry Registry) error {
	name, err := Canonical(entry.Name)
	if err != nil {
		return err
	}
	r, err := newRegistry(c.cfg, name, entry, true, c.metrics)
	if err != nil {
		return err
	}
	var own []string
	for _, ep := range r.endpoints {
		own = append(own, hostPort(ep.base.Host, ep.base.Scheme))
	}
	t, err := c.transport(own, true, entry.CAFile)
	if err != nil {
		return fmt.Errorf("origin.registries %s: %w", name, err)
	}
	for _, ep := range r.endpoints {
		ep.transport = t
	}
	c.configured[name] = r
	return nil
}

func (c *Client) transport(own []string, lenient bool, caFile string) (*http.Transport, error) {
	d := &dialer{own: append(own, proxyAddresses()...), lenient: lenient, timeout: c.cfg.Timeout}
	for _, s := range c.cfg.AllowPrivate {
		a, err := parseAllowed(s)
		if err != nil {
			return nil, err
		}
		d.allow = append(d.allow, a)
	}
	t, err := newTransport(d, c.cfg.MaxConnections, caFile)
	if err == nil {
		c.transports = append(c.transports, t)
	}
	return t, err
}

// Parallel is how many ranges of one blob should be in flight.
func (c *Client) Parallel() int { return c.cfg.Parallel }

// Close closes idle connections. What is still open goes on until it is closed.
func (c *Client) Close() error {
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
	return nil
}

// registry finds a registry by any of its names.
func (c *Client) registry(host string) (*registry, error) {
	name, err := Canonical(host)
	if err != nil {
		return nil, &distribution.OriginError{Code: "NAME_INVALID", Message: oneLine(err.Error()), Err: err}
	}
	if r, ok := c.configured[name]; ok {
		return r, nil
	}
	r := c.others.get(name, func() *registry {
		var r *registry
		if r, err = newRegistry(c.cfg, name, Registry{}, false, c.metrics); err == nil {
			r.endpoints[0].transport = c.open
		}
		return r
	})
	if r == nil {
		return nil, &distribution.OriginError{Code: "NAME_INVALID", Message: "no such registry", Err: err}
	}
	return r, nil
}

// session is the one for a credential at an endpoint. A mirror that is not
// trusted gets no credential.
func (c *Client) session(ep *endpoint, q *call) *session {
	cred := q.cred
	if !ep.trusted && (cred.fixed != "" || cred.auth != nil && cred.auth != authn.Anonymous) {
		cred = anonymousCredential()
	}
	key := sessionKey{endpoint: ep.base.String(), repository: q.repository, credential: cred.key}
	return c.sessions.get(key, func() *session { return newSession(ep, q.repository, cred, c.metrics) })
}
