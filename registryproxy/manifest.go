package registryproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func (c *call) manifest() {
	switch {
	case c.route.isTag():
		c.manifestByTag()
	case c.route.digest.IsZero():
		c.pass() // another algorithm than SHA-256
	default:
		c.manifestByDigest()
	}
}

func (c *call) manifestByTag() {
	v, res := c.tags.resolve(c.ctx, wish{
		route: c.route, rule: c.cfg.rule(c.route.repo, c.route.reference),
		authorization: c.authorization(), accept: c.r.Header.Values("Accept"),
	})
	if v != allowed && v != stale {
		c.decline(v, res.ans)
		return
	}
	c.serveManifest(res, v == stale)
}

func (c *call) manifestByDigest() {
	v, ans := c.access.check(c.ctx, c.question())
	if v != allowed && v != stale {
		c.decline(v, ans)
		return
	}
	res := resolution{tagRecord: tagRecord{Digest: c.route.digest, Size: -1}}
	if rec, ok := c.state.manifest(c.route.repo, c.route.digest); ok {
		res.MediaType, res.Size = rec.MediaType, rec.Size
	}
	// The HEAD may have been about another object of the repository.
	if told, err := chunk.ParseDigest(ans.header.Get("Docker-Content-Digest")); v == allowed && err == nil && told == res.Digest && res.MediaType == "" {
		res.MediaType, res.Size = mediaType(ans.header), ans.size
	}
	c.serveManifest(res, v == stale)
}

// serveManifest answers with a manifest that the caller may read.
func (c *call) serveManifest(res resolution, isStale bool) {
	tag := etag(res.Digest)
	if inm := c.r.Header.Get("If-None-Match"); inm != "" && etagMatches(inm, tag, true) {
		if isStale {
			c.markStale()
		}
		c.w.Header().Set("Etag", tag)
		c.w.Header().Set("Docker-Content-Digest", res.Digest.String())
		c.header(http.StatusNotModified)
		return
	}
	if c.isHead() && res.MediaType != "" && res.Size >= 0 {
		c.manifestHeader(res, isStale)
		c.w.Header().Set("Content-Length", strconv.FormatInt(res.Size, 10))
		c.header(http.StatusOK)
		return
	}
	if res.Size > maxManifest {
		c.pass()
		return
	}
	if err := c.loadManifest(&res); err != nil {
		c.log.Info("manifest straight from its origin", "object", c.objectSource(res.Digest), "err", err)
		c.metrics.fallbacks.WithLabelValues("start").Inc()
		c.pass()
		return
	}
	c.manifestHeader(res, isStale)
	c.small(res.MediaType, res.body)
}

func (c *call) manifestHeader(res resolution, isStale bool) {
	h := c.w.Header()
	h.Set("Content-Type", res.MediaType)
	h.Set("Docker-Content-Digest", res.Digest.String())
	h.Set("Etag", etag(res.Digest))
	if isStale {
		c.markStale()
	}
}

// loadManifest fills in body and media type, and learns what the manifest
// names. Its bytes are verified.
func (c *call) loadManifest(res *resolution) error {
	if res.body == nil {
		body, err := c.readManifest(res.Digest)
		if err != nil {
			return err
		}
		res.body = body
	} else {
		c.source = fromOrigin
	}
	doc := parseManifest(res.body)
	if res.MediaType == "" {
		res.MediaType = doc.MediaType
	}
	if res.MediaType == "" {
		q := c.question()
		q.route.digest, q.route.reference = res.Digest, res.Digest.String()
		res.MediaType = mediaType(c.up.head(c.ctx, q.request()).header)
	}
	if res.MediaType == "" {
		return errors.New("neither the manifest nor the origin tells its media type")
	}
	c.state.setManifest(c.route.repo, res.Digest, manifestRecord{res.MediaType, int64(len(res.body))})
	if c.cfg.TrustManifests {
		for _, d := range doc.members() {
			c.access.confirm(c.route.repo, d)
		}
	}
	return nil
}

func (c *call) readManifest(d chunk.Digest) ([]byte, error) {
	_, held := c.objects.Holds(d)
	rd, err := c.open(d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rd.Close() }()
	if rd.Size() > maxManifest {
		return nil, fmt.Errorf("manifest of %d bytes is too large to keep", rd.Size())
	}
	var buf bytes.Buffer
	if _, err := rd.CopyRange(c.ctx, &buf, 0, rd.Size()); err != nil {
		return nil, err
	}
	if got := chunk.SumBytes(buf.Bytes()); got != d {
		return nil, fmt.Errorf("manifest has digest %s", got)
	}
	c.source = fromStream
	if held {
		c.source = fromCache
	}
	return buf.Bytes(), nil
}

// open waits for an object's size, but not for ever. The wait's end must not
// end the reader, so there is no deadline on the context.
func (c *call) open(d chunk.Digest) (distribution.Reader, error) {
	ctx, cancel := context.WithCancel(c.ctx)
	timer := time.AfterFunc(c.cfg.OpenTimeout, cancel)
	rd, err := c.objects.Open(ctx, c.objectSource(d))
	if !timer.Stop() && err == nil {
		_ = rd.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening %s: %w", d, err)
	}
	return &opened{rd, cancel}, nil
}

// opened ends its context when it is closed.
type opened struct {
	distribution.Reader
	cancel context.CancelFunc
}

func (o *opened) Close() error {
	defer o.cancel()
	return o.Reader.Close()
}

// maxMembers bounds what one manifest may vouch for.
const maxMembers = 4096

// manifestDoc is what is read of a manifest. A subject and an index's manifests
// are left out: registries take them although they have no such manifest, so
// they vouch for nothing.
type manifestDoc struct {
	MediaType string       `json:"mediaType"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

type descriptor struct {
	Digest string   `json:"digest"`
	URLs   []string `json:"urls"`
}

// parseManifest reads what it can; what is no JSON names nothing.
func parseManifest(body []byte) (doc manifestDoc) {
	if err := json.Unmarshal(body, &doc); err != nil || len(doc.MediaType) > maxMediaType || strings.ContainsAny(doc.MediaType, "\r\n\x00") {
		return manifestDoc{}
	}
	return doc
}

// members are the blobs that lie in the manifest's repository: not those that
// are to be had elsewhere.
func (m manifestDoc) members() (all []chunk.Digest) {
	for _, desc := range append(m.Layers, m.Config) {
		d, err := chunk.ParseDigest(desc.Digest)
		if err == nil && len(desc.URLs) == 0 && len(all) < maxMembers {
			all = append(all, d)
		}
	}
	return all
}
