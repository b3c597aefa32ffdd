package origin

import (
	"context"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// cachedAuth remembers an answer for a while: helpers are processes, and a
// process for every range would be slower than the range.
type cachedAuth struct {
	inner authn.ContextAuthenticator
	ttl   time.Duration

	mu    sync.Mutex
	value *authn.AuthConfig
	at    time.Time
}

// Authorization implements authn.Authenticator.
func (c *cachedAuth) Authorization() (*authn.AuthConfig, error) {
	return c.AuthorizationContext(context.Background())
}

// AuthorizationContext implements authn.ContextAuthenticator.
func (c *cachedAuth) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
func (c *cachedAuth) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = nil
}
