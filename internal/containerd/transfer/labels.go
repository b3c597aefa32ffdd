//go:build linux

package transfer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Labels of containerd's. Those of snapshots tell a snapshotter what the layer is,
// beside those that ours reads; those of content keep other things from the
// garbage collector.
const (
	snapshotLayer  = "containerd.io/snapshot/cri.layer-digest"
	snapshotLayers = "containerd.io/snapshot/cri.image-layers"

	keepsContent  = "containerd.io/gc.ref.content."
	keepsSnapshot = "containerd.io/gc.ref.snapshot."

	// sourcePrefix and a registry say from which repositories of it a blob came.
	sourcePrefix = "containerd.io/distribution.source."
)

// maxLabel is how long a label's key and value may be together.
const maxLabel = 4096

// snapshotLabels are those of the snapshot of layer i.
func (p *pulling) snapshotLabels(i int) map[string]string {
	return map[string]string{
		snapshotter.LabelTarget:   p.chain[i].String(),
		snapshotter.LabelImage:    p.name,
		snapshotter.LabelManifest: p.manifest().Digest.String(),
		snapshotLayer:             p.found.Layers[i].Digest.String(),
		snapshotLayers:            list(p.found.Layers[i:], maxLabel-len(snapshotLayers)),
	}
}

// list names as many layers as fit, as kubelets' pulls do.
func list(layers []nodeapi.Layer, most int) string {
	var b strings.Builder
	for i, l := range layers {
		text := l.Digest.String()
		if i > 0 {
			text = "," + text
		}
		if b.Len()+len(text) > most {
			break
		}
		b.WriteString(text)
	}
	return b.String()
}

// manifestLabels keep what a manifest names.
func manifestLabels(config chunk.Digest, layers []chunk.Digest) map[string]string {
	labels := map[string]string{keepsContent + "config": config.String()}
	for i, l := range layers {
		labels[fmt.Sprintf("%sl.%d", keepsContent, i)] = l.String()
	}
	return labels
}

// indexLabels keep the one manifest of an index that was taken, under the label
// that is that manifest's own: others may be kept for other platforms.
func indexLabels(index *v1.IndexManifest, taken chunk.Digest) map[string]string {
	i := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Digest.String() == taken.String() })
	return map[string]string{fmt.Sprintf("%sm.%d", keepsContent, max(i, 0)): taken.String()}
}

// withSource adds to labels where a blob came from, beside where it is known to
// have come from.
func withSource(labels, known map[string]string, registry, repository string) map[string]string {
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	key := sourcePrefix + registry
	var all []string
	if known[key] != "" {
		all = strings.Split(known[key], ",")
	}
	if !slices.Contains(all, repository) {
		all = append(all, repository)
	}
	slices.Sort(all)
	if value := strings.Join(all, ","); len(key)+len(value) <= maxLabel {
		labels[key] = value
	}
	return labels
}

// sourcesIn are the repositories, with their registries, that labels name.
func sourcesIn(labels map[string]string) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		registry, ok := strings.CutPrefix(key, sourcePrefix)
		if !ok {
			continue
		}
		for repository := range strings.SplitSeq(labels[key], ",") {
			all = append(all, registry+"/"+repository)
		}
	}
	return all
}
