package registryproxy

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// primer is how much of a body must be here before its header is sent. Up to
// then every failure can still be answered otherwise.
const primer = 512

func (c *call) blob() {
	if c.route.digest.IsZero() {
		c.pass() // another algorithm than SHA-256
		return
	}
	v, ans := c.access.check(c.ctx, c.question())
	if v != allowed && v != stale {
		c.decline(v, ans)
		return
	}
	size, held := c.objects.Holds(c.route.digest)
	if c.isHead() {
		if told, err := chunk.ParseDigest(ans.header.Get("Docker-Content-Digest")); !held && err == nil && told == c.route.digest && ans.size >= 0 {
			size, held = ans.size, true // the HEAD that checked was about this very blob
		}
		c.blobHead(size, held, v)
		return
	}
	rd, err := c.open(c.route.digest)
	if err != nil {
		c.blobElsewhere(err)
		return
	}
	defer func() { _ = rd.Close() }()
	c.source = fromStream
	if held {
		c.source = fromCache
	}
	c.blobFrom(rd, v == stale)
}

// blobHead needs no swarm: a size that is not known is the origin's to tell.
func (c *call) blobHead(size int64, known bool, v verdict) {
	if !known {
		c.pass()
		return
	}
	c.blobHeader(v == stale)
	c.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	c.header(http.StatusOK)
}

func (c *call) blobHeader(isStale bool) {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", c.route.digest.String())
	h.Set("Etag", etag(c.route.digest))
	h.Set("Accept-Ranges", "bytes")
	if isStale {
		c.markStale()
	}
}

// blobElsewhere is for an object that the swarm cannot open: the origin's own
// answer is always right. Only one that asks for fewer requests is spared.
func (c *call) blobElsewhere(err error) {
	var refusal *distribution.OriginError
	if errors.As(err, &refusal) && refusal.Status == http.StatusTooManyRequests {
		c.fail(problemOf(refusal.Status, c.route))
		return
	}
	c.log.Info("blob straight from its origin", "object", c.objectSource(c.route.digest), "err", err)
	c.metrics.fallbacks.WithLabelValues("start").Inc()
	c.source = fromFallback
	c.pass()
}

func (c *call) blobFrom(rd distribution.Reader, isStale bool) {
	header := c.r.Header.Get("Range")
	if cond := c.r.Header.Get("If-Range"); cond != "" && !etagMatches(cond, etag(c.route.digest), false) {
		header = ""
	}
	part, partial, ok := parseRange(header, rd.Size())
	if !ok {
		c.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(rd.Size(), 10))
		c.fail(problemOf(http.StatusRequestedRangeNotSatisfiable, c.route))
		return
	}
	var first bytes.Buffer
	if _, err := rd.CopyRange(c.ctx, &first, part.off, min(part.n, primer)); err != nil {
		c.blobElsewhere(err)
		return
	}
	c.blobHeader(isStale)
	c.w.Header().Set("Content-Length", strconv.FormatInt(part.n, 10))
	if partial {
		c.w.Header().Set("Content-Range", part.contentRange(rd.Size()))
		c.header(http.StatusPartialContent)
	} else {
		c.header(http.StatusOK)
	}
	c.blobBody(rd, part, first.Bytes())
}

// blobBody sends the part: its first bytes, then the reader's, then the
// origin's if the reader breaks off.
func (c *call) blobBody(rd distribution.Reader, part span, first []byte) {
	if _, err := c.w.Write(first); err != nil {
		c.abort(err)
	}
	c.sent = int64(len(first))
	if c.sent == part.n {
		return
	}
	n, err := rd.CopyRange(c.ctx, c.w, part.off+c.sent, part.n-c.sent)
	c.sent += n
	if c.sent == part.n {
		return
	}
	if c.ctx.Err() != nil {
		c.abort(c.ctx.Err())
	}
	c.log.Warn("blob continues straight from its origin", "object", c.objectSource(c.route.digest), "at", part.off+c.sent, "err", err)
	c.metrics.fallbacks.WithLabelValues("middle").Inc()
	c.count()
	c.source = fromFallback
	c.resume(part)
}
