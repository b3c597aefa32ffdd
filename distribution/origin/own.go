package origin

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Own is the header by which this node's configured credentials can be used by
// another node of the cluster that fetches in its stead: "Basic …", "Bearer …",
// or empty when there are none that a header can carry.
func (c *Client) Own(ctx context.Context, host string) string {
	r, err := c.registry(host)
	if err != nil || r.node == authn.Anonymous {
		return ""
	}
	cfg, err := authn.Authorization(ctx, r.node)
	if err != nil {
		return ""
	}
	return basicHeader(cfg)
}
