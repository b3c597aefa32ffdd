package origin

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// cachedAuth remembers an answer for a while: helpers are processes, and a
// process for every range would be slower than the range.
type cachedAuth struct {
	inner keychainAuth
	ttl   time.Duration

	lock  chan struct{} // holds one value while locked; guards what follows
	value *authn.AuthConfig
	at    time.Time
}

func newCachedAuth(inner keychainAuth, ttl time.Duration) *cachedAuth {
	return &cachedAuth{inner: inner, ttl: ttl, lock: make(chan struct{}, 1)}
}

// Authorization implements authn.Authenticator.
func (c *cachedAuth) Authorization() (*authn.AuthConfig, error) {
	return c.AuthorizationContext(context.Background())
}

// AuthorizationContext implements authn.ContextAuthenticator.
func (c *cachedAuth) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	select {
	case c.lock <- struct{}{}:
		defer func() { <-c.lock }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c.value != nil && time.Since(c.at) < c.ttl {
		return c.value, nil
	}
	v, err := c.inner.AuthorizationContext(ctx)
	if err != nil {
		return nil, err
	}
	c.value, c.at = v, time.Now()
	return v, nil
}

// forget makes the next call ask again: what was remembered was refused.
func (c *cachedAuth) forget(ctx context.Context) {
	select {
	case c.lock <- struct{}{}:
		c.value = nil
		<-c.lock
	case <-ctx.Done():
	}
}
