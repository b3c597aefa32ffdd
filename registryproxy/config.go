package registryproxy

import (
	"errors"
	"fmt"
	"path"
	"time"
)

// The tag policies.
const (
	// PolicyRevalidate asks the origin on every request.
	PolicyRevalidate = "revalidate"
	// PolicyTTL takes an answer of the origin as good for TagRule.TTL.
	PolicyTTL = "ttl"
	// PolicyImmutable asks the origin once.
	PolicyImmutable = "immutable"
)

// Config is how the proxy behaves. A zero value means zero, not a default.
type Config struct {
	// DefaultRegistry is the origin of requests that name none; empty refuses
	// them.
	DefaultRegistry string `mapstructure:"default_registry"`
	// StateDir is where resolved tags survive a restart; empty keeps them in
	// memory only.
	StateDir string `mapstructure:"state_dir"`
	// Allow and Deny are patterns of "registry/repository", or of the registry
	// when they have no slash. "*" is anything within a component, "**" any
	// components. A request must match an Allow pattern, if there is any, and no
	// Deny pattern.
	Allow []string `mapstructure:"allow"`
	Deny  []string `mapstructure:"deny"`
	// Tags are tried in order; the first match decides. Where none matches,
	// tags are revalidated and never stale.
	Tags []TagRule `mapstructure:"tags"`
	// Login answers /v2/ with 401 and a challenge, whose token server is the proxy
	// itself. docker sends credentials only then, podman and skopeo anyway, and
	// containerd does not need it. Public images stay open to all: a token is
	// given to nobody, too. False answers 200, as simple checks of a registry
	// expect. "docker login" with a wrong password fails at the first pull only.
	Login bool `mapstructure:"login"`
	// AuthCache is how long the origin's yes to a caller's credentials holds for
	// a repository. Longer spares requests; a revoked caller reads on for as long.
	AuthCache time.Duration `mapstructure:"auth_cache"`
	// StaleAuth is how long it holds while the origin gives no answer.
	StaleAuth time.Duration `mapstructure:"stale_auth"`
	// StaleWait bounds the wait for an origin while something stale may be served
	// in its stead. After it, or another failure, the registry is not asked for
	// restTime in such cases.
	StaleWait time.Duration `mapstructure:"stale_wait"`
	// TrustManifests takes an image manifest's word that the blobs it names lie
	// in its repository. Registries check that on push, unlike what an index
	// names. Where one does not, whoever may push to it could read a blob of
	// another repository whose digest he knows. False costs a HEAD for each blob.
	TrustManifests bool `mapstructure:"trust_manifests"`
	// OriginTimeout bounds the wait for an origin's response header.
	OriginTimeout time.Duration `mapstructure:"origin_timeout"`
	// OpenTimeout bounds the wait for an object's size from the swarm. After it
	// the request goes to the origin.
	OpenTimeout time.Duration `mapstructure:"open_timeout"`
	// StallTimeout bounds the wait for the next byte straight from an origin.
	StallTimeout time.Duration `mapstructure:"stall_timeout"`
}

// TagRule says how tags of some repositories are resolved.
type TagRule struct {
	// Match is a pattern like those of Config.Allow.
	Match string `mapstructure:"match"`
	// Tag is a pattern of tags; empty is every tag.
	Tag string `mapstructure:"tag"`
	// Policy is one of the policies above.
	Policy string `mapstructure:"policy"`
	// TTL is for PolicyTTL.
	TTL time.Duration `mapstructure:"ttl"`
	// StaleIfError is for how long after its last confirmation a tag is still
	// served while the origin is unreachable, overloaded or failing.
	StaleIfError time.Duration `mapstructure:"stale_if_error"`
}

// Default is what suits a node with no wishes.
func Default() Config {
	return Config{
		DefaultRegistry: dockerHub,
		Tags:            []TagRule{{Match: "**", Policy: PolicyRevalidate, StaleIfError: time.Hour}},
		AuthCache:       time.Minute,
		StaleAuth:       time.Hour,
		StaleWait:       5 * time.Second,
		TrustManifests:  true,
		OriginTimeout:   30 * time.Second,
		OpenTimeout:     20 * time.Second,
		StallTimeout:    30 * time.Second,
	}
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if c.DefaultRegistry != "" && !validHost(c.DefaultRegistry) {
		errs = append(errs, fmt.Errorf("default_registry: %.80q is not a host or host:port", c.DefaultRegistry))
	}
	for key, list := range map[string][]string{"allow": c.Allow, "deny": c.Deny} {
		for _, p := range list {
			if !validPattern(p) {
				errs = append(errs, fmt.Errorf("%s: %.80q is not a pattern; write it like quay.io or docker.io/library/**", key, p))
			}
		}
	}
	for i, rule := range c.Tags {
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("tags[%d]: %w", i, err))
		}
	}
	errs = append(errs, notNegative("auth_cache", c.AuthCache), notNegative("stale_auth", c.StaleAuth), positive("stale_wait", c.StaleWait),
		positive("origin_timeout", c.OriginTimeout), positive("open_timeout", c.OpenTimeout), positive("stall_timeout", c.StallTimeout))
	return errors.Join(errs...)
}

func (r TagRule) validate() error {
	var errs []error
	if !validPattern(r.Match) {
		errs = append(errs, fmt.Errorf("match: %.80q is not a pattern; write ** for everything", r.Match))
	}
	if _, err := path.Match(r.Tag, ""); err != nil {
		errs = append(errs, fmt.Errorf("tag: %.80q is not a pattern", r.Tag))
	}
	switch r.Policy {
	case PolicyRevalidate, PolicyImmutable:
		if r.TTL != 0 {
			errs = append(errs, fmt.Errorf("ttl is for the policy %s only", PolicyTTL))
		}
	case PolicyTTL:
		errs = append(errs, positive("ttl", r.TTL))
	default:
		errs = append(errs, fmt.Errorf("policy: %.40q is none of %s, %s, %s", r.Policy, PolicyRevalidate, PolicyTTL, PolicyImmutable))
	}
	return errors.Join(append(errs, notNegative("stale_if_error", r.StaleIfError))...)
}

func positive(key string, d time.Duration) error {
	if d > 0 {
		return nil
	}
	return fmt.Errorf("%s: %s must be more than 0", key, d)
}

func notNegative(key string, d time.Duration) error {
	if d >= 0 {
		return nil
	}
	return fmt.Errorf("%s: %s must not be negative", key, d)
}
