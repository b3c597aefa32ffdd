package pull

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Puller brings images into the store behind Objects.
type Puller struct {
	Objects distribution.Objects
	Origin  distribution.Forwarder
	// Sources tells an object's present bytes by source; nil tells nothing.
	Sources func(chunk.Digest) map[string]int64
	// Parallel is how many blobs are open at a time.
	Parallel int
	// Interval is how often progress is told.
	Interval time.Duration
}

// Bounds of what an image may claim.
const (
	maxManifest = 8 << 20
	maxDepth    = 4 // indexes inside indexes
	maxObjects  = 10_000
)

// accepted are the manifests that this package understands.
const accepted = string(types.OCIImageIndex) + ", " + string(types.OCIManifestSchema1) + ", " +
	string(types.DockerManifestList) + ", " + string(types.DockerManifestSchema2)

// Pull brings one image in. It calls tell, one call at a time, until it returns;
// the last event is Done or has the Error that is returned too.
func (p *Puller) Pull(ctx context.Context, r Request, tell func(Event)) error {
	err := p.pull(ctx, r, tell)
	last := Event{Image: r.Image, Done: err == nil}
	if err != nil {
		last.Error = err.Error()
	}
	tell(last)
	return err
}

func (p *Puller) pull(ctx context.Context, r Request, tell func(Event)) error {
	w, err := p.walk(ctx, r, tell)
	if err != nil {
		return err
	}
	if err := w.fetch(ctx); err != nil {
		return fmt.Errorf("pulling %s: %w", r.Image, advised(err))
	}
	return nil
}

// List names the objects of an image, manifests first. It brings the manifests
// in, but no blob.
func (p *Puller) List(ctx context.Context, r Request) ([]Object, error) {
	var manifests []Object
	w, err := p.walk(ctx, r, func(e Event) { manifests = append(manifests, e.Objects...) })
	if err != nil {
		return nil, err
	}
	return append(manifests, w.blobs...), nil
}

// walk reads an image's manifests.
func (p *Puller) walk(ctx context.Context, r Request, tell func(Event)) (*walk, error) {
	w, root, err := p.begin(ctx, r, tell)
	if err != nil {
		return nil, err
	}
	if err := w.manifest(ctx, root, 0); err != nil {
		return nil, fmt.Errorf("pulling %s: %w", r.Image, advised(err))
	}
	return w, nil
}

// begin finds out which manifest is meant.
func (p *Puller) begin(ctx context.Context, r Request, tell func(Event)) (*walk, chunk.Digest, error) {
	ref, err := ParseReference(r.Image)
	if err != nil {
		return nil, ref.Digest, err
	}
	want, err := parsePlatforms(r.Platforms)
	if err != nil {
		return nil, ref.Digest, err
	}
	src := ref.source(r.Authorization)
	if ref.Digest.IsZero() {
		if ref.Digest, err = p.resolve(ctx, asNode(src), ref.Tag); err != nil {
			return nil, ref.Digest, fmt.Errorf("resolving %s: %w", r.Image, err)
		}
	}
	tell(Event{Image: r.Image, Digest: &ref.Digest})
	return &walk{Puller: p, src: src, platforms: want, image: r.Image, tell: tell, seen: map[chunk.Digest]bool{}}, ref.Digest, nil
}

// asNode lets a source without credentials use the node's.
func asNode(src distribution.Source) distribution.Source {
	if src.Authorization == "" {
		src.Authorization = distribution.NodeCredentials
	}
	return src
}

// resolve asks the origin which manifest a tag names now.
func (p *Puller) resolve(ctx context.Context, src distribution.Source, tag string) (chunk.Digest, error) {
	request := distribution.Request{
		Method: http.MethodHead, Registry: src.Registry, Repository: src.Repository,
		Path: "manifests/" + tag, Header: http.Header{"Accept": {accepted}}, Authorization: src.Authorization,
	}
	response, err := p.Origin.Forward(ctx, request)
	if err != nil {
		return chunk.Digest{}, err
	}
	_ = response.Body.Close() // a HEAD has none
	if response.StatusCode == http.StatusOK {
		if d, err := chunk.ParseDigest(response.Header.Get("Docker-Content-Digest")); err == nil {
			return d, nil
		}
	}
	// Some registries answer HEAD without a digest, or not at all.
	request.Method = http.MethodGet
	if response, err = p.Origin.Forward(ctx, request); err != nil {
		return chunk.Digest{}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxManifest+1))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return chunk.Digest{}, err
	}
	if response.StatusCode != http.StatusOK || len(body) > maxManifest {
		return chunk.Digest{}, refusal(response.StatusCode)
	}
	return chunk.Digest(sha256.Sum256(body)), nil
}

func refusal(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the registry answered %d: it wants credentials; run `docker login`, or give --username and --password-stdin", status)
	case http.StatusNotFound:
		return errors.New("the registry answered 404: no such image or tag, or it wants credentials")
	}
	return fmt.Errorf("the registry answered %d", status)
}
