package registryproxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/shoal-project/shoal/distribution"
)

// resumeTries is how often an origin is asked for the rest of a body before the
// client's connection is cut.
const resumeTries = 5

// resume sends what is missing of a part, straight from the origin, or aborts.
func (c *call) resume(part span) {
	var err error
	for range resumeTries {
		if c.sent == part.n {
			return
		}
		if c.ctx.Err() != nil {
			c.abort(c.ctx.Err())
		}
		var n int64
		n, err = c.resumeOnce(span{part.off + c.sent, part.n - c.sent})
		c.sent += n
	}
	if c.sent < part.n {
		c.abort(err)
	}
}

func (c *call) resumeOnce(rest span) (int64, error) {
	h := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", rest.off, rest.off+rest.n-1)}}
	resp, err := c.up.forward(c.ctx, distribution.Request{
		Method: http.MethodGet, Registry: c.route.repo.registry, Repository: c.route.repo.name,
		Path: c.route.path(), Header: h, Authorization: c.authorization(),
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-%d/", rest.off, rest.off+rest.n-1); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return 0, fmt.Errorf("origin sent another range than %s", h.Get("Range"))
		}
	case resp.StatusCode == http.StatusOK:
		if _, err := io.CopyN(io.Discard, resp.Body, rest.off); err != nil {
			return 0, fmt.Errorf("skipping to byte %d: %w", rest.off, err)
		}
	default:
		return 0, fmt.Errorf("origin answered %d", resp.StatusCode)
	}
	n, err := io.CopyN(c.w, resp.Body, rest.n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
