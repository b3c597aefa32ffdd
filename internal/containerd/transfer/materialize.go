//go:build linux

package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/containerd"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/pull"
)

// MaterializeRequest names an image of containerd's whose blobs are to be there.
type MaterializeRequest struct {
	// Image is the record's name, or a reference that has it.
	Image string
	// From is an image of the repository to ask first; empty is where the labels of
	// the image's manifest say that it came from, and then where its name says.
	From string
	// Authorization is the header value for a repository's registry.
	Authorization func(image string) (string, error)
}

// Bounds of what an image may name.
const (
	maxManifest = 8 << 20
	maxDepth    = 4 // indexes inside indexes
	maxBlobs    = 10_000
)

// gathering is one Materialize.
type gathering struct {
	*Mover
	request MaterializeRequest
	name    string
	tell    func(News)

	seen  map[chunk.Digest]bool
	lacks []lacking
	total int64
	done  int64
}

// lacking is a blob that containerd does not have, and the repositories that may.
type lacking struct {
	blob    nodeapi.Layer
	sources []string
}

// Materialize brings the blobs of an image that containerd does not have into its
// content store, for every platform whose manifest it has.
func (m *Mover) Materialize(ctx context.Context, r MaterializeRequest, tell func(News)) error {
	g := &gathering{Mover: m, request: r, tell: tell, seen: map[chunk.Digest]bool{}}
	target, err := g.image(ctx)
	if err != nil {
		return err
	}
	g.say(News{Digest: &target.Digest})
	err = m.underLease(ctx, func(ctx context.Context) error {
		if err := g.walk(ctx, target, 0); err != nil {
			return err
		}
		return g.fetch(ctx)
	})
	if err != nil {
		return fmt.Errorf("materializing %s: %w", g.name, err)
	}
	g.say(News{Complete: true})
	return nil
}

func (g *gathering) say(n News) {
	n.Image = g.name
	g.tell(n)
}

// image finds the record, by its name as it was given, or written out.
func (g *gathering) image(ctx context.Context) (containerd.Descriptor, error) {
	g.name = g.request.Image
	target, err := g.Engine.Image(ctx, g.name)
	if !errors.Is(err, containerd.ErrNotFound) {
		return target, err
	}
	if ref, parseErr := pull.ParseReference(g.request.Image); parseErr == nil {
		g.name = recordName(ref)
		target, err = g.Engine.Image(ctx, g.name)
	}
	if errors.Is(err, containerd.ErrNotFound) {
		err = fmt.Errorf("%w; `ctr --namespace NAME images list` shows what it has, --namespace names another namespace", err)
	}
	return target, err
}

// walk finds what is missing below an index or a manifest that containerd has.
func (g *gathering) walk(ctx context.Context, d containerd.Descriptor, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("its indexes lie more than %d deep", maxDepth)
	}
	body, err := g.Engine.Read(ctx, d.Digest, maxManifest)
	if err != nil {
		return err
	}
	if index, err := v1.ParseIndexManifest(bytes.NewReader(body)); err == nil && len(index.Manifests) > 0 {
		return g.walkIndex(ctx, index, depth)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return g.walkManifest(ctx, d.Digest, manifest)
}

// walkIndex goes on with the manifests that containerd has; a platform that was
// not pulled has none.
func (g *gathering) walkIndex(ctx context.Context, index *v1.IndexManifest, depth int) error {
	found := false
	for _, d := range index.Manifests {
		digest, err := chunk.ParseDigest(d.Digest.String())
		if err != nil {
			return err
		}
		known, err := g.Engine.Keep(ctx, digest)
		if err != nil {
			return err
		}
		if known == nil || g.seen[digest] {
			continue
		}
		found, g.seen[digest] = true, true
		if err := g.walk(ctx, containerd.Descriptor{Digest: digest}, depth+1); err != nil {
			return err
		}
	}
	if !found && depth == 0 {
		return errors.New("containerd has none of its manifests; pull it first")
	}
	return nil
}

// walkManifest notes the blobs that are missing, and has the manifest keep all.
func (g *gathering) walkManifest(ctx context.Context, d chunk.Digest, manifest *v1.Manifest) error {
	known, err := g.Engine.Keep(ctx, d)
	if err != nil {
		return err
	}
	blobs := append([]v1.Descriptor{manifest.Config}, manifest.Layers...)
	digests := make([]chunk.Digest, len(blobs))
	for i, b := range blobs {
		if digests[i], err = chunk.ParseDigest(b.Digest.String()); err != nil {
			return fmt.Errorf("manifest %s: %w", d, err)
		}
	}
	sources := g.sources(known)
	for i, b := range blobs {
		if !b.MediaType.IsDistributable() && len(b.URLs) > 0 {
			continue // it is to be had elsewhere, and no engine keeps it
		}
		if err := g.note(ctx, nodeapi.Layer{Digest: digests[i], Size: b.Size, MediaType: string(b.MediaType)}, sources); err != nil {
			return err
		}
	}
	return g.Engine.Label(ctx, d, missing(manifestLabels(digests[0], digests[1:]), known))
}

func (g *gathering) note(ctx context.Context, blob nodeapi.Layer, sources []string) error {
	if g.seen[blob.Digest] {
		return nil
	}
	if len(g.seen) >= maxBlobs {
		return fmt.Errorf("it names more than %d blobs", maxBlobs)
	}
	g.seen[blob.Digest] = true
	known, err := g.Engine.Keep(ctx, blob.Digest)
	if err != nil || known != nil {
		return err
	}
	g.lacks = append(g.lacks, lacking{blob, sources})
	g.total += blob.Size
	return nil
}
