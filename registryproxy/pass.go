package registryproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/shoal-project/shoal/distribution"
)

// maxErrorBody bounds what is read of an origin's error.
const maxErrorBody = 64 << 10

// Headers that go to the origin, and those that come back.
var (
	requestHeaders  = []string{"Accept", "If-None-Match", "If-Range", "Range"}
	responseHeaders = []string{
		"Accept-Ranges", "Content-Encoding", "Content-Range", "Content-Type", "Docker-Content-Digest", "Etag",
		"Last-Modified", "Location", "Oci-Filters-Applied", "Oci-Subject", "Retry-After", "Warning", "Www-Authenticate",
		"Ratelimit-Limit", "Ratelimit-Remaining", "Docker-Ratelimit-Source",
	}
)

// pass lets the origin answer the caller's own request.
func (c *call) pass() {
	if c.source == "" || c.source == fromCache || c.source == fromStream {
		c.source = fromOrigin
	}
	resp, err := c.up.forward(c.ctx, c.ownRequest())
	if err != nil {
		c.unreachable(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode >= 500:
		c.unreachable(fmt.Errorf("origin answered %d", resp.StatusCode))
	case resp.StatusCode >= 400:
		c.passRefusal(resp)
	default:
		c.passHeader(resp)
		c.passBody(resp)
	}
}

func (c *call) ownRequest() distribution.Request {
	h := http.Header{}
	for _, name := range requestHeaders {
		if values := c.r.Header.Values(name); len(values) > 0 {
			h[name] = values
		}
	}
	if c.route.kind == kindManifest {
		h["Accept"] = acceptOrAll(h["Accept"])
	}
	query := c.r.URL.Query()
	query.Del("ns")
	return distribution.Request{
		Method: c.r.Method, Registry: c.route.repo.registry, Repository: c.route.repo.name, Path: c.route.path(),
		Query: query, Header: h, Authorization: c.authorization(),
	}
}

func (c *call) passHeader(resp *http.Response) {
	h := c.w.Header()
	for _, name := range responseHeaders {
		if values := resp.Header.Values(name); len(values) > 0 {
			h[name] = values
		}
	}
	if next, ok := c.nextPage(resp.Header.Values("Link")); ok {
		h.Set("Link", next)
	}
	if c.route.kind == kindBlob && resp.StatusCode < 300 {
		h.Set("Content-Type", "application/octet-stream")
	}
	if h.Get("Content-Type") == "" {
		h["Content-Type"] = nil // nobody may guess
	}
}

// passRefusal keeps the origin's words where a client can read them.
func (c *call) passRefusal(resp *http.Response) {
	c.passHeader(resp)
	c.status = resp.StatusCode
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil || !isErrorBody(body) {
		body = problemOf(resp.StatusCode, c.route).body()
	}
	c.small("application/json", body)
}

func (c *call) passBody(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.StatusCode != http.StatusNotModified {
		c.w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	c.header(resp.StatusCode)
	if c.isHead() || resp.StatusCode == http.StatusNotModified {
		return
	}
	n, err := io.Copy(c.w, resp.Body)
	c.sent += n
	if err == nil && (resp.ContentLength < 0 || n == resp.ContentLength) {
		return
	}
	c.passRest(resp, err)
}

// passRest goes on where a blob's body broke off; nothing else can be resumed.
func (c *call) passRest(resp *http.Response, err error) {
	part, ok := passedSpan(resp)
	if c.route.kind != kindBlob || !ok || c.ctx.Err() != nil {
		c.abort(err)
	}
	c.log.Warn("origin broke off; asking for the rest", "repository", c.route.repo.String(), "at", part.off+c.sent, "err", err)
	c.resume(part)
}

// passedSpan is the part of a blob that a response said it would bring.
func passedSpan(resp *http.Response) (span, bool) {
	if resp.ContentLength < 0 || resp.Header.Get("Content-Encoding") != "" {
		return span{}, false
	}
	if resp.StatusCode == http.StatusOK {
		return span{0, resp.ContentLength}, true
	}
	var first, last int64
	if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/", &first, &last); err != nil {
		return span{}, false
	}
	return span{first, resp.ContentLength}, resp.StatusCode == http.StatusPartialContent && first >= 0 && last-first+1 == resp.ContentLength
}

// nextPage rewrites a Link to the next page, so that it leads through this
// proxy in the form in which the caller came. Only the origin's query is taken.
func (c *call) nextPage(links []string) (string, bool) {
	for link := range strings.SplitSeq(strings.Join(links, ","), ",") {
		target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
		if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		u, err := url.Parse(target[1:])
		if err != nil {
			continue
		}
		query := u.Query()
		query.Del("ns")
		if c.route.byNamespace {
			query.Set("ns", c.r.URL.Query().Get("ns"))
		}
		next := url.URL{Path: c.r.URL.Path, RawQuery: query.Encode()}
		return "<" + next.String() + `>; rel="next"`, true
	}
	return "", false
}
