package registryproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// maxManifest is the size up to which the distribution spec wants manifests
// accepted; larger ones pass through.
const maxManifest = 4 << 20

// maxAccept bounds an Accept list that is worth a record of its own.
const maxAccept = 4 << 10

// tags resolves tags by the configured rules.
type tags struct {
	up      upstream
	state   *state
	access  *access
	probes  *probes
	now     func() time.Time
	asking  *flights[resolution]
	metrics *Metrics
}

// wish is a caller's wish for a tag.
type wish struct {
	route         route
	rule          TagRule
	authorization string
	accept        []string
}

// resolution is the manifest that a tag means.
type resolution struct {
	tagRecord
	body []byte // the manifest, when it had to be fetched to learn its digest
	ans  answer // of the origin, if it was asked
}

// key names the record: origins may resolve one tag to different manifests for
// different Accept lists.
func (w wish) key() string {
	sum := sha256.Sum256([]byte(normalAccept(w.accept)))
	return w.route.repo.String() + ":" + w.route.reference + " " + hex.EncodeToString(sum[:8])
}

// normalAccept is the set of what is accepted, in one spelling.
func normalAccept(accept []string) string {
	var all []string
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		if part = strings.ToLower(strings.ReplaceAll(part, " ", "")); part != "" {
			all = append(all, part)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

// resolve answers a wish. Allowed and stale come with a resolution.
func (t *tags) resolve(ctx context.Context, w wish) (verdict, resolution) {
	if len(strings.Join(w.accept, ",")) > maxAccept {
		return unclear, resolution{}
	}
	rec, known := t.state.tag(w.key())
	if known && t.fresh(w.rule, rec) {
		return t.known(ctx, w, rec)
	}
	spare := known && t.mayServeStale(w, rec)
	if spare && t.access.isResting(w.route.repo.registry) {
		return t.done(stale, "stale"), resolution{tagRecord: rec}
	}
	res := asked(ctx, t.access.patience(spare), func(ctx context.Context) resolution { return t.ask(ctx, w, rec, known) })
	v := res.ans.verdict()
	switch {
	case v == allowed && res.Digest.IsZero():
		return t.done(unclear, "passed"), res
	case v == allowed:
		t.access.confirm(w.route.repo, res.Digest)
		return t.done(allowed, "asked"), res
	case res.ans.failing() && spare:
		t.access.rest(ctx, w.route.repo.registry)
		return t.done(stale, "stale"), resolution{tagRecord: rec, ans: res.ans}
	}
	return t.done(v, "failed"), res
}

func (t *tags) done(v verdict, outcome string) verdict {
	t.metrics.resolutions.WithLabelValues(outcome).Inc()
	return v
}

func (t *tags) fresh(rule TagRule, rec tagRecord) bool {
	switch rule.Policy {
	case PolicyImmutable:
		return true
	case PolicyTTL:
		return within(t.now(), rec.At, rule.TTL)
	}
	return false
}

// known serves a record that needs no asking, to a caller who may have it.
func (t *tags) known(ctx context.Context, w wish, rec tagRecord) (verdict, resolution) {
	t.access.confirm(w.route.repo, rec.Digest)
	v, ans := t.access.check(ctx, w.question(rec))
	return t.done(v, "cached"), resolution{tagRecord: rec, ans: ans}
}

func (w wish) question(rec tagRecord) question {
	at := w.route
	at.digest, at.reference = rec.Digest, rec.Digest.String()
	return question{route: at, authorization: w.authorization, accept: w.accept, staleFor: w.rule.StaleIfError}
}

func (t *tags) mayServeStale(w wish, rec tagRecord) bool {
	if !within(t.now(), rec.At, w.rule.StaleIfError) {
		return false
	}
	t.access.confirm(w.route.repo, rec.Digest)
	return t.access.acceptedStale(w.question(rec), t.access.credential(w.authorization))
}

// ask shares one request among concurrent callers with the same credential.
func (t *tags) ask(ctx context.Context, w wish, rec tagRecord, known bool) resolution {
	who := t.access.credential(w.authorization)
	res, err := t.asking.do(ctx, w.key()+string(who[:]), func(ctx context.Context) resolution {
		return t.fromOrigin(ctx, w, who, rec, known)
	})
	if err != nil {
		return resolution{ans: answer{err: err}}
	}
	return res
}

func (t *tags) fromOrigin(ctx context.Context, w wish, who credential, rec tagRecord, known bool) resolution {
	req := w.request()
	if known {
		req.Header.Set("If-None-Match", etag(rec.Digest))
	}
	res := resolution{ans: t.up.head(ctx, req)}
	switch {
	case res.ans.status == http.StatusNotModified && known:
		res.tagRecord = rec
	case res.ans.verdict() == allowed:
		res = t.read(ctx, w, res.ans)
	case res.ans.denies():
		t.access.refuse(w.route.repo, who)
	}
	if res.Digest.IsZero() || res.ans.verdict() != allowed {
		return res
	}
	res.At = t.now()
	t.access.accept(w.route.repo, who)
	t.state.setTag(w.key(), res.tagRecord)
	if w.rule.StaleIfError > 0 && w.authorization != "" {
		t.probes.consider(w.route.repo, w.request())
	}
	return res
}

func (w wish) request() distribution.Request {
	return distribution.Request{
		Method: http.MethodHead, Registry: w.route.repo.registry, Repository: w.route.repo.name,
		Path: w.route.path(), Header: http.Header{"Accept": acceptOrAll(w.accept)}, Authorization: w.authorization,
	}
}

// read takes the digest from a header, or from the bytes themselves when the
// origin does not tell it. A digest that is not a SHA-256 stays zero.
func (t *tags) read(ctx context.Context, w wish, ans answer) resolution {
	res := resolution{ans: ans, tagRecord: tagRecord{MediaType: mediaType(ans.header), Size: ans.size}}
	if told := ans.header.Get("Docker-Content-Digest"); told != "" {
		d, err := chunk.ParseDigest(told)
		if err == nil {
			res.Digest = d
		}
		return res
	}
	req := w.request()
	req.Method = http.MethodGet
	resp, err := t.up.forward(ctx, req)
	if err != nil {
		res.ans = answer{err: err}
		return res
	}
	defer func() { _ = resp.Body.Close() }()
	res.ans = answer{status: resp.StatusCode, header: resp.Header, size: resp.ContentLength}
	if resp.StatusCode != http.StatusOK {
		return res
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil || len(body) > maxManifest || (resp.ContentLength >= 0 && int64(len(body)) != resp.ContentLength) {
		return res
	}
	res.body = body
	res.tagRecord = tagRecord{Digest: chunk.SumBytes(body), MediaType: mediaType(resp.Header), Size: int64(len(body))}
	return res
}

// mediaType is the answer's, without parameters; empty when it is none that a
// manifest can have.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || len(t) > maxMediaType || t == "application/octet-stream" || strings.HasPrefix(t, "text/") {
		return ""
	}
	return t
}

func etag(d chunk.Digest) string { return `"` + d.String() + `"` }
