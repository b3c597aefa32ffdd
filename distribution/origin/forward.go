package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/shoal-project/shoal/distribution"
)

// Forward implements [distribution.Forwarder]. Redirects are followed. Closing
// the response's body gives its connection back.
func (c *Client) Forward(ctx context.Context, r distribution.Request) (*http.Response, error) {
	q, err := c.forwarded(r)
	if err != nil {
		return nil, err
	}
	a, err := c.fetch(ctx, q, &patience{}, nil)
	if err != nil {
		return nil, err
	}
	resp := a.resp
	handed := *resp
	handed.Body = &forwardedBody{a: a, unlink: a.link(ctx)}
	return &handed, nil
}

func (c *Client) forwarded(r distribution.Request) (*call, error) {
	reg, err := c.registry(r.Registry)
	if err != nil {
		return nil, err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, &distribution.OriginError{Code: "UNSUPPORTED", Message: oneLine(fmt.Sprintf("%q is not passed on", r.Method))}
	}
	if !validRepository(r.Repository) || !validPath(r.Path) {
		return nil, &distribution.OriginError{Code: "NAME_INVALID", Message: oneLine(fmt.Sprintf("%q of %q is malformed", r.Path, r.Repository))}
	}
	cred, err := reg.credential(r.Authorization, true)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for _, k := range [...]string{"Accept", "If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
		if v := r.Header.Values(k); len(v) > 0 {
			header[k] = v
		}
	}
	return &call{
		reg: reg, cred: cred, method: r.Method, repository: r.Repository,
		path: r.Path, query: r.Query, header: header, hurried: true,
	}, nil
}

// forwardedBody is the body of a response that was handed on.
type forwardedBody struct {
	a      *answer
	unlink func() bool
}

var _ io.ReadCloser = (*forwardedBody)(nil)

func (b *forwardedBody) Read(p []byte) (int, error) { return b.a.Read(p) }

func (b *forwardedBody) Close() error {
	b.unlink()
	return b.a.Close()
}
