package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// manifestTypes is what a manifest is accepted as: an object asked for by
// digest is wanted as it is.
const manifestTypes = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, " +
	"application/vnd.docker.distribution.manifest.v1+prettyjws, */*"

// maxManifest bounds a manifest that comes without a length (the OCI limit).
const maxManifest = 4 << 20

// question is the call for an object.
func (c *Client) question(src distribution.Source, method string) (*call, error) {
	reg, err := c.registry(src.Registry)
	if err != nil {
		return nil, err
	}
	if !validRepository(src.Repository) {
		return nil, &distribution.OriginError{Code: "NAME_INVALID", Message: oneLine(fmt.Sprintf("repository name %q is malformed", src.Repository))}
	}
	cred, err := reg.credential(src.Authorization, false)
	if err != nil {
		return nil, err
	}
	q := &call{reg: reg, cred: cred, method: method, repository: src.Repository, header: http.Header{}}
	q.path = "blobs/" + src.Digest.String()
	if src.Manifest {
		q.path = "manifests/" + src.Digest.String()
		q.header.Set("Accept", manifestTypes)
	}
	return q, nil
}

// Stat implements [distribution.Origin] with a HEAD request, or, where a
// registry does not answer one with a size, as Open does.
func (c *Client) Stat(ctx context.Context, src distribution.Source) (int64, error) {
	q, err := c.question(src, http.MethodHead)
	if err != nil {
		return 0, err
	}
	size := int64(-1)
	a, err := c.fetch(ctx, q, &patience{}, func(a *answer) error {
		if err := plain(a.resp, src.Digest); err != nil {
			return err
		}
		size = a.resp.ContentLength
		return nil
	})
	if err != nil && !headRefused(err) {
		return 0, err
	}
	if err == nil {
		a.Close()
		if a.resp.StatusCode == http.StatusOK && size >= 0 {
			return size, checkSize(size)
		}
	}
	b, err := c.Open(ctx, src)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	return b.Size(), nil
}

// headRefused tells the statuses by which servers turn down a HEAD though they
// would answer a GET; storage behind a URL that was signed for GET is one.
func headRefused(err error) bool {
	var refused *distribution.OriginError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// Open implements [distribution.Origin] with one GET of the first chunk, whose
// body waits for the first Read; with none if the size is known.
func (c *Client) Open(ctx context.Context, src distribution.Source) (distribution.Blob, error) {
	q, err := c.question(src, http.MethodGet)
	if err != nil {
		return nil, err
	}
	b := newBlob(c, q, src.Digest)
	if src.Size > 0 {
		b.size = src.Size
		b.ranged.Store(true)
		return b, checkSize(b.size)
	}
	var first *body
	learn := func(a *answer) (err error) {
		first, err = b.learn(a, src.Manifest)
		return err
	}
	if !src.Manifest {
		q.header.Set("Range", rangeHeader(0, chunk.Size))
	}
	a, err := c.fetch(ctx, q, &patience{}, learn)
	if err == nil && a.resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		// Some registries refuse a range that ends after the blob's end.
		a.Close()
		q.header.Del("Range")
		a, err = c.fetch(ctx, q, &patience{}, learn)
	}
	if err != nil {
		return nil, err
	}
	b.adopt(a)
	b.hold(first)
	return b, nil
}

// learn takes an object's size and manner from the first answer.
func (b *blob) learn(a *answer, manifest bool) (*body, error) {
	if err := plain(a.resp, b.digest); err != nil {
		return nil, err
	}
	b.etag, b.etagHost = strongETag(a)
	switch a.resp.StatusCode {
	case http.StatusPartialContent:
		r, err := checkRange(a.resp, 0, chunk.Size)
		if err != nil {
			return nil, err
		}
		if r.total < 0 {
			return nil, noSize()
		}
		b.size = r.total
		b.ranged.Store(true)
		return &body{answer: a, end: r.last + 1, keep: true}, checkSize(b.size)
	case http.StatusOK:
		b.ranged.Store(false)
		if manifest && a.resp.ContentLength < 0 {
			return b.buffer(a)
		}
		if b.size = a.resp.ContentLength; b.size < 0 {
			return nil, noSize()
		}
		return &body{answer: a, end: b.size, keep: true}, checkSize(b.size)
	case http.StatusRequestedRangeNotSatisfiable:
		if b.call.header.Get("Range") != "" {
			return nil, nil
		}
	}
	return nil, lie("status %d", a.resp.StatusCode)
}

// buffer reads a manifest without a length into memory to know it.
func (b *blob) buffer(a *answer) (*body, error) {
	data, err := io.ReadAll(io.LimitReader(a, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxManifest {
		return nil, lie("a manifest of more than %d bytes", maxManifest)
	}
	a.Close()
	b.size, b.memory = int64(len(data)), data
	return nil, nil
}

// plain refuses answers whose bytes cannot be those of the digest.
func plain(resp *http.Response, want chunk.Digest) error {
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return lie("content encoding %.40q", e)
	}
	got := resp.Header.Get("Docker-Content-Digest")
	if d, err := chunk.ParseDigest(got); err == nil && d != want {
		return lie("digest %s instead of %s", d, want)
	}
	return nil
}

// checkRange checks a 206 against the n bytes from off that were asked for. The
// answer may be shorter, never longer or elsewhere.
func checkRange(resp *http.Response, off, n int64) (byteRange, error) {
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case !ok:
		return r, lie("Content-Range %.60q", resp.Header.Get("Content-Range"))
	case r.first != off || r.last >= off+n:
		return r, lie("bytes %d-%d instead of %d-%d", r.first, r.last, off, off+n-1)
	case resp.ContentLength >= 0 && resp.ContentLength != r.last-r.first+1:
		return r, lie("%d bytes of body for bytes %d-%d", resp.ContentLength, r.first, r.last)
	}
	return r, nil
}

func checkSize(size int64) error {
	if size > chunk.MaxObject {
		return lie("an object of %d bytes, more than the %d that are supported", size, int64(chunk.MaxObject))
	}
	return nil
}

func noSize() error {
	return &distribution.OriginError{Message: ErrNoSize.Error(), Err: ErrNoSize}
}

func rangeHeader(off, n int64) string { return fmt.Sprintf("bytes=%d-%d", off, off+n-1) }
