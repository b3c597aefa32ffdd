package testimage

import (
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Family is a family of media types.
type Family string

// The families that registries hold.
const (
	OCI    Family = "oci"
	Docker Family = "docker" // image manifest version 2, schema 2
)

// Config is what an image says about how to run it.
type Config struct {
	Architecture string // GOARCH's spelling; empty is this machine's
	Command      []string
	Labels       map[string]string
}

// Assemble makes an image of layers. The Docker family has names for plain and
// gzip layers only.
func Assemble(family Family, config Config, layers ...v1.Layer) (v1.Image, error) {
	manifestType, configType := types.OCIManifestSchema1, types.OCIConfigJSON
	if family == Docker {
		manifestType, configType = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifestType), configType)
	addenda := make([]mutate.Addendum, len(layers))
	for i, l := range layers {
		mediaType, err := l.MediaType()
		if err != nil {
			return nil, err
		}
		if addenda[i], err = addendum(family, l, mediaType); err != nil {
			return nil, err
		}
	}
	img, err := mutate.Append(base, addenda...)
	if err != nil {
		return nil, fmt.Errorf("adding layers: %w", err)
	}
	return configure(img, config)
}

func addendum(family Family, l v1.Layer, mediaType types.MediaType) (mutate.Addendum, error) {
	if family == Docker {
		switch mediaType {
		case types.OCILayer:
			mediaType = types.DockerLayer
		case types.OCIUncompressedLayer:
			mediaType = types.DockerUncompressedLayer
		default:
			return mutate.Addendum{}, fmt.Errorf("the docker media types cannot name a layer of %s", mediaType)
		}
	}
	return mutate.Addendum{Layer: l, MediaType: mediaType, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "testimage"}}, nil
}

func configure(img v1.Image, config Config) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = config.Architecture, "linux"
	if file.Architecture == "" {
		file.Architecture = runtime.GOARCH
	}
	file.Created = v1.Time{Time: epoch}
	file.Config.Cmd = config.Command
	file.Config.Labels = config.Labels
	file.Config.Env = []string{"PATH=/bin:/usr/bin"}
	return mutate.ConfigFile(img, file)
}

// Index makes a multi-platform index of images, in order. Each image's own
// configuration names its platform.
func Index(family Family, images ...v1.Image) (v1.ImageIndex, error) {
	mediaType := types.OCIImageIndex
	if family == Docker {
		mediaType = types.DockerManifestList
	}
	index := mutate.IndexMediaType(empty.Index, mediaType)
	for _, img := range images {
		file, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		platform := &v1.Platform{Architecture: file.Architecture, OS: file.OS}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index, nil
}
