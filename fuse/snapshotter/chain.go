//go:build linux

package snapshotter

import (
	"strings"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer"
)

// The labels by which containerd says what it is about to unpack. The first
// comes with every layer; the others only where containerd is configured so.
const (
	LabelTarget   = "containerd.io/snapshot.ref" // the layer's chain ID
	LabelImage    = "containerd.io/snapshot/cri.image-ref"
	LabelManifest = "containerd.io/snapshot/cri.manifest-digest"
	// labelStargz is the image's reference from clients that know no other remote
	// snapshotter than stargz.
	labelStargz = "containerd.io/snapshot/remote/stargz.reference"
)

// imageRef is the reference of the image that a layer belongs to, with the
// manifest's digest if that is known, or "". What lies in other labels is not
// needed; the list of layers may be cut short.
func imageRef(labels map[string]string) string {
	ref := labels[LabelImage]
	if ref == "" {
		ref = labels[labelStargz]
	}
	if ref == "" {
		return ""
	}
	if _, err := chunk.ParseDigest(labels[LabelManifest]); err != nil {
		return ref
	}
	name, _, _ := strings.Cut(ref, "@")
	return name + "@" + labels[LabelManifest]
}

// depthOf is how many layers of an image a chain ID stands for, if parent is the
// snapshot of those below the last; 0 if it is none of that image's.
func depthOf(diffIDs []chunk.Digest, target, parent string) int {
	chain := layer.ChainIDs(diffIDs)
	for i, id := range chain {
		if id.String() != target {
			continue
		}
		if i == 0 && parent == "" || i > 0 && chainOf(parent) == chain[i-1].String() {
			return i + 1
		}
	}
	return 0
}

// chainOf is the chain ID in a committed layer's name. containerd names what it
// commits itself NAMESPACE/NUMBER/CHAINID; see [Snapshotter.nameFor] for ours.
func chainOf(name string) string {
	name = name[strings.LastIndex(name, "/")+1:]
	chain, _, _ := strings.Cut(name, "#")
	return chain
}
