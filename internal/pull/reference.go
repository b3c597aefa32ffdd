package pull

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Reference is a parsed image name.
type Reference struct {
	Registry   string // "docker.io" for Docker Hub
	Repository string // "library/debian"
	// Tag or Digest says which manifest; the digest wins.
	Tag    string
	Digest chunk.Digest
}

// ParseReference reads a name as docker does: "debian" is
// docker.io/library/debian:latest.
func ParseReference(image string) (Reference, error) {
	parsed, err := name.ParseReference(image)
	if err != nil {
		return Reference{}, fmt.Errorf("%q is not an image reference; write for example debian:12, quay.io/org/name:tag or name@sha256:…", image)
	}
	registry := parsed.Context().RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	ref := Reference{Registry: registry, Repository: parsed.Context().RepositoryStr()}
	if d, ok := parsed.(name.Digest); ok {
		ref.Digest, err = chunk.ParseDigest(d.DigestStr())
		return ref, err
	}
	ref.Tag = parsed.Identifier()
	return ref, nil
}

func (r Reference) source(authorization string) distribution.Source {
	return distribution.Source{Registry: r.Registry, Repository: r.Repository, Authorization: authorization}
}

// platforms chooses among the manifests of an index.
type platforms struct {
	all   bool
	wants []v1.Platform
}

func parsePlatforms(texts []string) (platforms, error) {
	if len(texts) == 0 {
		return platforms{wants: []v1.Platform{{OS: "linux", Architecture: runtime.GOARCH}}}, nil
	}
	if slices.Contains(texts, "all") {
		return platforms{all: true}, nil
	}
	var p platforms
	for _, text := range texts {
		want, err := v1.ParsePlatform(text)
		if err != nil || want.OS == "" || want.Architecture == "" {
			return p, fmt.Errorf("%q is not a platform; write os/arch, such as linux/arm64, or all", text)
		}
		p.wants = append(p.wants, *want)
	}
	return p, nil
}

// choose gives the manifests to take: for each wanted platform the first that
// fits, as engines do.
func (p platforms) choose(index *v1.IndexManifest) ([]v1.Descriptor, error) {
	if p.all {
		return index.Manifests, nil
	}
	var chosen []v1.Descriptor
	for _, want := range p.wants {
		i := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool {
			return d.Platform != nil && d.Platform.Satisfies(want)
		})
		if i < 0 {
			return nil, fmt.Errorf("the image has no %s; it has %s", want, offered(index))
		}
		chosen = append(chosen, index.Manifests[i])
	}
	return chosen, nil
}

func offered(index *v1.IndexManifest) string {
	var texts []string
	for _, d := range index.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			texts = append(texts, d.Platform.String())
		}
	}
	return strings.Join(texts, ", ")
}
