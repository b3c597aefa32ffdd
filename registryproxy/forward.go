package registryproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// errStalled says that an origin went silent.
var errStalled = errors.New("the origin sent nothing for too long")

// nobody is Basic credentials with neither user nor password. The origin package
// exchanges them for the token that a registry gives to anybody.
const nobody = "Basic Og=="

// maxTokenRegistries bounds upstream.tokens.
const maxTokenRegistries = 1024

// upstream is the origins, with every wait bounded.
type upstream struct {
	origin distribution.Forwarder
	header time.Duration // longest wait for a response header
	stall  time.Duration // longest wait for the next bytes of a body
	// tokens are the registries that want a token even of nobody.
	tokens *lru[string, struct{}]
}

// forward passes a request on. The response's body must be closed; it fails
// when the origin stalls.
//
// Most clients see no challenge of a registry behind a proxy in time to get a
// token for a public image, so a request without credentials is made as nobody
// where the registry wants a token. A refusal goes back with the challenge.
func (u upstream) forward(ctx context.Context, req distribution.Request) (*http.Response, error) {
	if req.Authorization != "" {
		return u.send(ctx, req)
	}
	asNobody := req
	asNobody.Authorization = nobody
	if _, ok := u.tokens.get(req.Registry); ok {
		return u.send(ctx, asNobody)
	}
	resp, err := u.send(ctx, req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !wantsToken(resp.Header) {
		return resp, err
	}
	_ = resp.Body.Close()
	u.tokens.put(req.Registry, struct{}{})
	return u.send(ctx, asNobody)
}

func wantsToken(h http.Header) bool {
	for _, v := range h.Values("Www-Authenticate") {
		if scheme, _, _ := strings.Cut(strings.TrimSpace(v), " "); strings.EqualFold(scheme, "bearer") {
			return true
		}
	}
	return false
}

func (u upstream) send(ctx context.Context, req distribution.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(u.header, func() { cancel(context.DeadlineExceeded) })
	resp, err := u.origin.Forward(ctx, req)
	if !timer.Stop() && err == nil {
		err = context.DeadlineExceeded
		_ = resp.Body.Close()
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(err, cause)
		}
		cancel(nil)
		return nil, err
	}
	body := &watched{body: resp.Body, cancel: cancel, limit: u.stall}
	body.timer = time.AfterFunc(u.stall, func() { cancel(errStalled) })
	body.timer.Stop()
	resp.Body = body
	return resp, nil
}

// head asks and keeps only the answer's header.
func (u upstream) head(ctx context.Context, req distribution.Request) answer {
	req.Method = http.MethodHead
	resp, err := u.forward(ctx, req)
	if err != nil {
		return answer{err: err}
	}
	_ = resp.Body.Close()
	size := resp.ContentLength
	if size == 0 {
		size = -1 // some registries send no length with a HEAD
	}
	return answer{status: resp.StatusCode, header: resp.Header, size: size}
}

// watched is a body whose every Read is bounded in time. The time its reader
// takes between Reads does not count: that is the client's.
type watched struct {
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func (b *watched) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.body.Read(p)
	b.timer.Stop()
	return n, err
}

func (b *watched) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}

// answer is what an origin said to a HEAD.
type answer struct {
	status int
	header http.Header
	size   int64 // Content-Length; -1 if unknown
	err    error // there was no answer
}

// verdict is what an answer means for the one who asked.
type verdict int

const (
	allowed     verdict = iota // the origin says yes
	stale                      // the origin says nothing, an earlier yes still counts
	refused                    // the origin says no to this caller
	unclear                    // pass the caller's own request on: that answers it
	unreachable                // there is no answer
)

// verdict judges. Where a HEAD is not conclusive (not found, not supported, a
// server's error), the request itself may still succeed, or says it better.
func (a answer) verdict() verdict {
	switch {
	case a.err != nil:
		if _, final := refusalIn(a.err); final {
			return refused
		}
		return unreachable
	case a.status/100 == 2, a.status == http.StatusNotModified:
		return allowed
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, a.status == http.StatusTooManyRequests:
		return refused
	}
	return unclear
}

// denies tells a no to the caller, as opposed to one for now.
func (a answer) denies() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
}

// failing tells whether stale content may stand in.
func (a answer) failing() bool {
	if a.err != nil {
		return a.verdict() == unreachable
	}
	return a.status >= 500 || a.status == http.StatusTooManyRequests
}
