package origin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const maxHops = 5

// call is one question, whichever endpoint answers it.
type call struct {
	reg        *registry
	cred       credential
	method     string
	repository string
	path       string
	query      url.Values
	header     http.Header
	// hurried says that the caller would rather have a refusal than a long pause.
	hurried bool
	// blob, if there is one, remembers where redirects led and which endpoint
	// serves it.
	blob *blob
}

// slots are the ones that the call's answer takes from: short ones do not queue
// behind bulk.
func (q *call) slots() *slots {
	if q.hurried || q.method == http.MethodHead {
		return q.reg.quick
	}
	return q.reg.slots
}

// send makes one attempt at an endpoint: with its redirects, and with one more
// request if a challenge can be met. location, if any, is asked directly.
func (c *Client) send(ctx context.Context, q *call, ep *endpoint, location *url.URL) (*answer, error) {
	if err := q.admit(ctx, ep); err != nil {
		return nil, err
	}
	slots := q.slots()
	if err := slots.acquire(ctx); err != nil {
		return nil, err
	}
	a := newAnswer(ctx, q.reg, slots)
	a.ep = ep
	unlink := a.link(ctx)
	defer unlink()
	u := location
	if u == nil {
		u = ep.target(q.repository, q.path, q.query)
	}
	if err := c.follow(a, q, u); err != nil {
		return nil, a.fail(err)
	}
	a.guard.Stop()
	ep.rest.Store(0)
	return a, nil
}

// follow asks u and goes where it is sent.
func (c *Client) follow(a *answer, q *call, u *url.URL) error {
	for hop := 0; ; hop++ {
		resp, err := c.ask(a, q, u)
		if err != nil {
			return err
		}
		next, err := redirected(resp, u)
		if err != nil || next == nil {
			a.resp = resp
			if !sameOrigin(u, a.ep.base) {
				a.final = u
			}
			return err
		}
		discard(resp)
		if hop == maxHops {
			return lie("more than %d redirects", maxHops)
		}
		u = next
	}
}

// ask makes a request, and one more if the endpoint's challenge can be met.
// Only the endpoint itself ever sees the Authorization.
func (c *Client) ask(a *answer, q *call, u *url.URL) (*http.Response, error) {
	if !sameOrigin(u, a.ep.base) {
		return c.roundTrip(a, q, u, "")
	}
	s := c.session(a.ep, q)
	auth, err := s.header(a.ctx)
	if tokenRefused(err) {
		return c.roundTrip(a, q, u, "")
	}
	if err != nil {
		return nil, err
	}
	resp, err := c.roundTrip(a, q, u, auth)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	auth, again, err := s.challenged(a.ctx, challengeHeaders(resp.Header), auth)
	switch {
	case tokenRefused(err), err == nil && !again:
		return resp, nil
	case err != nil:
		discard(resp)
		return nil, err
	}
	discard(resp)
	return c.roundTrip(a, q, u, auth)
}

func (c *Client) roundTrip(a *answer, q *call, u *url.URL, auth string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(a.ctx, q.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "shoal")
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	a.guard.Reset(a.ep.timeout)
	start := time.Now()
	resp, err := a.ep.transport.RoundTrip(req)
	c.metrics.latency.Observe(time.Since(start).Seconds())
	c.metrics.requests.WithLabelValues(outcome(resp, err)).Inc()
	return resp, err
}

// redirected is where a response sends us, nil if nowhere.
func redirected(resp *http.Response, u *url.URL) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	next, err := u.Parse(resp.Header.Get("Location"))
	switch {
	case err != nil || resp.Header.Get("Location") == "":
		return nil, lie("a redirect without a usable Location")
	case next.Scheme != "https" && next.Scheme != "http", next.Host == "":
		return nil, lie("a redirect to a URL that is not http")
	case next.Scheme == "http" && u.Scheme == "https":
		return nil, lie("a redirect from https to clear text at %s", next.Host)
	}
	next.User = nil
	return next, nil
}

// sameOrigin tells whether two URLs lead to the same server.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme &&
		strings.EqualFold(hostPort(a.Host, a.Scheme), hostPort(b.Host, b.Scheme))
}

// discard reads a short body to its end so that the connection can be reused.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	resp.Body.Close()
}
