package remote

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/pull"
)

// Find tells what an image is, for who wants it as the registry has it.
func (o *Opener) Find(ctx context.Context, r nodeapi.FindRequest) (*nodeapi.Found, error) {
	image, err := o.Images.Image(ctx, pullRequest(r.Image, r.Platform, r.Authorization))
	if err != nil {
		return nil, err
	}
	found := &nodeapi.Found{Registry: image.Source.Registry, Repository: image.Source.Repository}
	if found.Documents, err = described(image.Documents); err != nil {
		return nil, err
	}
	if found.Layers, err = described(image.Layers); err != nil {
		return nil, err
	}
	for _, id := range image.Config.RootFS.DiffIDs {
		d, err := chunk.ParseDigest(id.String())
		if err != nil {
			return nil, fmt.Errorf("the config of %s: %w", r.Image, err)
		}
		found.DiffIDs = append(found.DiffIDs, d)
	}
	if len(found.DiffIDs) != len(found.Layers) {
		return nil, fmt.Errorf("the config of %s has %d diffIDs for %d layers; have it built again", r.Image, len(found.DiffIDs), len(found.Layers))
	}
	return found, nil
}

// Blob brings a blob of an image's repository in, whole.
func (o *Opener) Blob(ctx context.Context, r nodeapi.BlobRequest, tell func(done, total int64)) (distribution.Reader, error) {
	return o.Images.Blob(ctx, pullRequest(r.Image, "", r.Authorization), r.Digest, r.Manifest, tell)
}

func pullRequest(image, platform, authorization string) pull.Request {
	request := pull.Request{Image: image, Authorization: authorization}
	if platform != "" {
		request.Platforms = []string{platform}
	}
	return request
}

func described(descriptors []v1.Descriptor) ([]nodeapi.Layer, error) {
	all := make([]nodeapi.Layer, len(descriptors))
	for i, d := range descriptors {
		digest, err := chunk.ParseDigest(d.Digest.String())
		if err != nil {
			return nil, fmt.Errorf("%s: %w; pull this image without Shoal", d.Digest, err)
		}
		all[i] = nodeapi.Layer{Digest: digest, Size: d.Size, MediaType: string(d.MediaType), TOC: tocOf(d)}
	}
	return all, nil
}

// tocAnnotations are where a manifest tells the digest of a blob's table of
// contents.
var tocAnnotations = []string{"containerd.io/snapshot/stargz/toc.digest", "io.github.containers.zstd-chunked.manifest-checksum"}

// tocOf is nil where none is told, or not in a form that anybody could look up.
func tocOf(d v1.Descriptor) *chunk.Digest {
	for _, a := range tocAnnotations {
		if toc, err := chunk.ParseDigest(d.Annotations[a]); err == nil {
			return &toc
		}
	}
	return nil
}
