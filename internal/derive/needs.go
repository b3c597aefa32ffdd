package derive

import (
	"sync"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer"
)

// maxNeeds bounds how many objects are remembered, of all layers together.
const maxNeeds = 1 << 17

// needs remembers which objects the maps name that were read. To read a map is to
// hash all of it, and an image is opened by every node of a cluster.
type needs struct {
	mu     sync.Mutex
	layers map[chunk.Digest][]layer.Object // by diffID
	count  int
}

func (n *needs) of(diffID chunk.Digest) ([]layer.Object, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	objects, ok := n.layers[diffID]
	return objects, ok
}

// keep remembers a layer's objects, which must not change, and forgets all others if
// there are too many.
func (n *needs) keep(diffID chunk.Digest, objects []layer.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.layers == nil || n.count+len(objects) > maxNeeds {
		n.layers, n.count = map[chunk.Digest][]layer.Object{}, 0
	}
	n.count += len(objects) - len(n.layers[diffID])
	n.layers[diffID] = objects
}

// forget has the layer's map read again.
func (n *needs) forget(diffID chunk.Digest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count -= len(n.layers[diffID])
	delete(n.layers, diffID)
}
