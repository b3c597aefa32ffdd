package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config is how registries are treated. The zero value is not useful; start
// from [Default].
type Config struct {
	// Parallel is how many ranges of one blob the download engine keeps in
	// flight. More hides a slow or distant registry's latency; fewer is kinder
	// to one that counts connections.
	Parallel int `mapstructure:"parallel"`
	// MaxConnections bounds the requests in flight to one registry, over all
	// blobs. A quarter of 4 or more is kept for short requests (tags, HEAD), so
	// that they do not queue behind bulk. It is also how many idle connections
	// are kept.
	MaxConnections int `mapstructure:"max_connections"`
	// Timeout is how long a registry may send nothing: before its answer starts,
	// and between two bytes of a body. It is not a limit on the whole.
	Timeout time.Duration `mapstructure:"timeout"`
	// Retries is how often a request that failed for a passing reason is tried
	// again without any progress in between. 0 never tries again.
	Retries int `mapstructure:"retries"`
	// Backoff is the first pause before trying again; each further one doubles,
	// up to BackoffLimit, less a random half.
	Backoff      time.Duration `mapstructure:"backoff"`
	BackoffLimit time.Duration `mapstructure:"backoff_limit"`
	// RetryAfterLimit is the longest Retry-After that is waited for. A registry
	// that asks for more gets no further request; the caller gets its refusal.
	RetryAfterLimit time.Duration `mapstructure:"retry_after_limit"`
	// AllowPrivate lists what may be talked to at a private, loopback or
	// link-local address beside the configured registries: host (any port),
	// host:port, or a network ("10.1.0.0/16").
	AllowPrivate []string `mapstructure:"allow_private"`
	// DockerConfig is the path of a docker config.json whose credentials and
	// credential helpers are the node's own; "default" looks where docker and
	// podman do. Empty: none.
	DockerConfig string `mapstructure:"docker_config"`
	// Registries configures single registries, by name.
	Registries []Registry `mapstructure:"registries"`
}

// Registry configures one registry.
type Registry struct {
	// Name as in image names: "docker.io", "registry.example.com:5000".
	Name string `mapstructure:"name"`
	// Mirrors are base URLs tried in order before the registry itself, each with
	// ?ns=<name> as containerd does. "/v2" is appended to a path without it.
	Mirrors []string `mapstructure:"mirrors"`
	// TrustMirror sends the caller's and the node's credentials to mirrors too.
	TrustMirror bool `mapstructure:"trust_mirror"`
	// PlainHTTP speaks HTTP without TLS. Unset: only to loopback names.
	PlainHTTP *bool `mapstructure:"plain_http"`
	// CAFile holds PEM certificates to trust beside the system's.
	CAFile string `mapstructure:"ca_file"`
	// Username and PasswordFile are the node's own credentials here; they come
	// before docker_config.
	Username     string `mapstructure:"username"`
	PasswordFile string `mapstructure:"password_file"`
	// LendCredentials lets callers without credentials use the node's. Whoever
	// reaches the registry port can then pull what the node may.
	LendCredentials bool `mapstructure:"lend_credentials"`
	// RateLimit bounds the bytes per second read from here; 0: no bound.
	RateLimit int64 `mapstructure:"rate_limit"`
	// RequestLimit bounds the requests per second made here; 0: no bound.
	RequestLimit float64 `mapstructure:"request_limit"`
}

// Default suits a public registry.
func Default() Config {
	return Config{
		Parallel:        4,
		MaxConnections:  32,
		Timeout:         20 * time.Second,
		Retries:         4,
		Backoff:         250 * time.Millisecond,
		BackoffLimit:    10 * time.Second,
		RetryAfterLimit: time.Minute,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("origin."+format, args...))
		}
	}
	need(c.Parallel >= 1 && c.Parallel <= 64, "parallel: %d is not within 1 and 64", c.Parallel)
	need(c.MaxConnections >= 1 && c.MaxConnections <= 1024, "max_connections: %d is not within 1 and 1024", c.MaxConnections)
	need(c.Timeout > 0, "timeout: must be more than 0 (20s is usual)")
	need(c.Retries >= 0 && c.Retries <= 100, "retries: %d is not within 0 and 100", c.Retries)
	need(c.Backoff >= 0 && c.BackoffLimit >= c.Backoff, "backoff_limit: must not be less than backoff")
	need(c.RetryAfterLimit >= 0, "retry_after_limit: must not be negative")
	for _, s := range c.AllowPrivate {
		_, err := parseAllowed(s)
		need(err == nil, "allow_private: %v", err)
	}
	seen := map[string]bool{}
	for _, r := range c.Registries {
		name, err := Canonical(r.Name)
		need(err == nil, "registries: %v", err)
		need(err != nil || !seen[name], "registries: %s is configured twice", name)
		seen[name] = true
		errs = append(errs, r.validate())
	}
	return errors.Join(errs...)
}

func (r Registry) validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("origin.registries %s: "+format, append([]any{r.Name}, args...)...))
		}
	}
	for _, m := range r.Mirrors {
		_, err := parseMirror(m)
		need(err == nil, "mirrors: %v", err)
	}
	need(r.PasswordFile == "" || r.Username != "", "password_file: needs a username")
	need(r.Username == "" || r.PasswordFile != "", "username: needs a password_file")
	need(r.RateLimit >= 0, "rate_limit: must not be negative")
	need(r.RequestLimit >= 0, "request_limit: must not be negative")
	return errors.Join(errs...)
}

// parseMirror reads a mirror's base URL and gives it its /v2.
func parseMirror(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("mirror %.80q is not a URL", s)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("mirror %.80q: want http(s)://host[:port][/path] and nothing else", u.Redacted())
	}
	if _, err := Canonical(u.Host); err != nil {
		return nil, err
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if !strings.HasSuffix(u.Path, "/v2") && !strings.Contains(u.Path, "/v2/") {
		u.Path += "/v2"
	}
	return u, nil
}

// allowed is one entry of AllowPrivate: a network, or a host with a port or 0
// for every port.
type allowed struct {
	net  netip.Prefix
	host string
	port string
}

func parseAllowed(s string) (allowed, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return allowed{net: p.Masked()}, nil
	}
	name, err := Canonical(s)
	if err != nil {
		return allowed{}, err
	}
	host, port, _ := splitName(name)
	return allowed{host: strings.Trim(host, "[]"), port: port}, nil
}
