package registryproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// refusedBody bounds the wait for the end of a push that is refused.
const refusedBody = 5 * time.Second

// statusGone is logged for a client that left without an answer.
const statusGone = 499

// call is one request on its way through the proxy. Everything that is written
// to the client goes through it, so that it can be counted without wrapping the
// ResponseWriter, which would cost sendfile.
type call struct {
	*Proxy
	ctx     context.Context
	w       http.ResponseWriter
	r       *http.Request
	route   route
	began   time.Time
	status  int    // 0 until one was sent
	source  string // of the body
	sent    int64  // bytes of the body
	counted int64  // how many of them are in the metrics
}

func (c *call) serve() {
	c.w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	t, bad := parseRoute(c.r.URL, c.cfg.DefaultRegistry)
	c.route = t
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		c.w.Header().Set("Allow", "GET, HEAD")
		// The server reads on for a while after a body that is refused.
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(refusedBody))
		c.fail(&problem{http.StatusMethodNotAllowed, codeUnsupported, pushHint})
		return
	}
	if bad == nil && t.kind != kindPing && t.kind != kindToken {
		bad = c.admit()
	}
	if bad != nil {
		c.fail(bad)
		return
	}
	switch t.kind {
	case kindPing:
		c.ping()
	case kindToken:
		c.token()
	case kindManifest:
		c.manifest()
	case kindBlob:
		c.blob()
	default:
		c.pass()
	}
}

// admit settles the repository's names and asks the operator's lists.
func (c *call) admit() *problem {
	if bad := c.route.canonicalize(c.canonical); bad != nil {
		return bad
	}
	if len(c.authorization()) > distribution.MaxCredential {
		return &problem{http.StatusRequestHeaderFieldsTooLarge, codeUnauthorized, "the credentials are too long"}
	}
	if !c.cfg.permitted(c.route.repo) {
		return &problem{http.StatusForbidden, codeDenied, "this node's configuration does not permit " + trim(c.route.repo.String())}
	}
	return nil
}

func (c *call) isHead() bool { return c.r.Method == http.MethodHead }

func (c *call) question() question {
	return question{
		route: c.route, authorization: c.authorization(), accept: c.r.Header.Values("Accept"),
		staleFor: time.Duration(c.cfg.staleFor(c.route.repo)),
	}
}

// source names an object of the route's repository to the swarm.
func (c *call) objectSource(d chunk.Digest) distribution.Source {
	return distribution.Source{
		Registry: c.route.repo.registry, Repository: c.route.repo.name, Digest: d,
		Manifest: c.route.kind == kindManifest, Authorization: c.authorization(),
	}
}

// header sends status and header. Content-Length is the caller's to set.
func (c *call) header(status int) {
	c.status = status
	c.w.WriteHeader(status)
}

// small sends a short body, or only its header for HEAD.
func (c *call) small(contentType string, body []byte) {
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if c.status == 0 {
		c.status = http.StatusOK
	}
	c.header(c.status)
	if !c.isHead() {
		n, _ := c.w.Write(body) // the client is gone: nobody to tell
		c.sent += int64(n)
	}
}

func (c *call) fail(p *problem) {
	c.status = p.status
	c.small("application/json", p.body())
}

// markStale says that the origin was not asked (RFC 7234 section 5.5.1).
func (c *call) markStale() {
	c.w.Header().Set("Warning", `110 shoal "Response is Stale"`)
	c.metrics.staleServed.WithLabelValues(c.route.kind).Inc()
}

// decline answers when access or tags said neither allowed nor stale.
func (c *call) decline(v verdict, ans answer) {
	switch v {
	case refused:
		c.refuse(ans)
	case unreachable:
		c.unreachable(ans.err)
	default:
		if ans.status == http.StatusNotFound && c.isHead() {
			c.fail(problemOf(ans.status, c.route))
			return
		}
		c.pass()
	}
}

// refuse hands on the origin's no, with its challenge word for word.
func (c *call) refuse(ans answer) {
	if p, denied := refusalIn(ans.err); denied {
		c.fail(p)
		return
	}
	for _, name := range []string{"Www-Authenticate", "Retry-After"} {
		if values := ans.header.Values(name); len(values) > 0 {
			c.w.Header()[name] = values
		}
	}
	p := problemOf(ans.status, c.route)
	if ans.status == http.StatusUnauthorized && c.authorization() == "" {
		p.message = "the origin wants credentials: log in (docker sends them only where this node has login: true)"
	}
	c.fail(p)
}

// unreachable tells that no origin answered; see the package comment for 404.
func (c *call) unreachable(err error) {
	if c.ctx.Err() != nil {
		c.status = statusGone
		return
	}
	if p, denied := refusalIn(err); denied {
		c.fail(p)
		return
	}
	c.log.Warn("origin unreachable", "registry", c.route.repo.registry, "err", err)
	c.w.Header().Del("Warning")
	p := &problem{http.StatusBadGateway, codeUnavailable, fmt.Sprintf("%s cannot be reached: %s", c.route.repo.registry, reason(err))}
	if !strings.HasSuffix(p.message, ")") { // the origin package has no hint
		p.message += " (check the network, or configure a mirror of it)"
	}
	switch {
	case c.route.byNamespace:
		p.status, p.code = http.StatusNotFound, unknownCode(c.route)
	case errors.Is(err, context.DeadlineExceeded):
		p.status = http.StatusGatewayTimeout
	}
	c.fail(p)
}

// abort cuts the connection, because what was sent is not the whole.
func (c *call) abort(err error) {
	c.log.Warn("answer cut short", "object", c.route.reference, "repository", c.route.repo.String(), "sent", c.sent, "err", err)
	panic(http.ErrAbortHandler)
}

// finish counts the request, also one that was aborted.
func (c *call) finish() {
	took := time.Since(c.began)
	c.metrics.requests.WithLabelValues(c.route.kind, method(c.r.Method), class(c.status)).Inc()
	c.metrics.latency.WithLabelValues(c.route.kind).Observe(took.Seconds())
	c.count()
	c.log.LogAttrs(context.WithoutCancel(c.ctx), slog.LevelDebug, "request",
		slog.String("method", method(c.r.Method)), slog.String("kind", c.route.kind),
		slog.String("repository", c.route.repo.String()), slog.String("reference", trim(c.route.reference)),
		slog.Int("status", c.status), slog.Int64("bytes", c.sent), slog.String("source", c.source), slog.Duration("took", took))
}

// count adds what was sent since the last time to the source it came from.
func (c *call) count() {
	if c.source != "" && c.sent > c.counted {
		c.metrics.bytes.WithLabelValues(c.source).Add(float64(c.sent - c.counted))
	}
	c.counted = c.sent
}

// etagMatches reads If-None-Match or If-Range against a strong tag.
func etagMatches(header, tag string, weak bool) bool {
	if strings.TrimSpace(header) == "*" {
		return weak
	}
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimSpace(part)
		if weak {
			part = strings.TrimPrefix(part, "W/")
		}
		if part == tag {
			return true
		}
	}
	return false
}
