// Package containerdtest is as much of a containerd as a pull needs, in memory,
// behind a real socket, for tests.
//
// It keeps the rules that clients depend on: a blob counts when its bytes have its
// digest, one writer at a time has a blob, a snapshotter may commit a layer by
// itself. It collects no garbage, and knows one namespace.
//
// All methods are safe for concurrent use.
package containerdtest

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"

	"github.com/shoal-project/shoal/chunk"
)

// Engine is a running containerd.
type Engine struct {
	Socket string

	mu        sync.Mutex
	lazy      func(labels map[string]string) bool
	breakAt   int
	away      bool
	blobs     map[string]*blob
	ingests   map[string]*ingest
	images    map[string]string // targets
	leases    map[string]bool   // true: released
	kept      []string          // what leases were told to keep
	snapshots map[string]*snapshot
	asked     []map[string]string // the labels of every Prepare
}

// blob is one of the content store.
type blob struct {
	data   []byte
	labels map[string]string
}

type ingest struct {
	data   []byte
	locked bool
}

type snapshot struct {
	parent string
	active bool
}

// Start starts a containerd that ends with the test.
func Start(t testing.TB) *Engine {
	t.Helper()
	e := &Engine{
		Socket: filepath.Join(t.TempDir(), "c"), blobs: map[string]*blob{}, ingests: map[string]*ingest{}, images: map[string]string{},
		leases: map[string]bool{}, snapshots: map[string]*snapshot{},
	}
	l, err := net.Listen("unix", e.Socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	content.RegisterContentServer(server, &contents{Engine: e})
	diff.RegisterDiffServer(server, &diffs{Engine: e})
	images.RegisterImagesServer(server, &imageRecords{Engine: e})
	introspection.RegisterIntrospectionServer(server, &plugins{Engine: e})
	leases.RegisterLeasesServer(server, &leaseRecords{Engine: e})
	snapshots.RegisterSnapshotsServer(server, &snapshotter{Engine: e})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return e
}

// Lazy says by a layer's labels whether the snapshotter "shoal" commits it by
// itself. There is a snapshotter "overlayfs" that never does.
func (e *Engine) Lazy(commits func(labels map[string]string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lazy = commits
}

// Away has the snapshotters not answer.
func (e *Engine) Away() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = true
}

// BreakAt has the next write to the content store end once it has n bytes.
func (e *Engine) BreakAt(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.breakAt = n
}

// Lock has a blob written by somebody else until the function it gives is called.
func (e *Engine) Lock(ref string) (unlock func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ingest(ref).locked = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ingests[ref].locked = false
	}
}

// ingest is what is there of a blob. e.mu is held.
func (e *Engine) ingest(ref string) *ingest {
	if e.ingests[ref] == nil {
		e.ingests[ref] = &ingest{}
	}
	return e.ingests[ref]
}

// Add puts a blob into the content store.
func (e *Engine) Add(data []byte, labels map[string]string) chunk.Digest {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := chunk.SumBytes(data)
	e.blobs[d.String()] = &blob{data, labels}
	return d
}

// Corrupt changes a blob's bytes behind its name.
func (e *Engine) Corrupt(d chunk.Digest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.blobs[d.String()].data = []byte("other bytes")
}

// Labels are a blob's; nil if there is none.
func (e *Engine) Labels(d chunk.Digest) map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.blobs[d.String()] == nil {
		return nil
	}
	labels := map[string]string{}
	maps.Copy(labels, e.blobs[d.String()].labels)
	return labels
}

// Has tells whether a blob is there with the bytes that its name says.
func (e *Engine) Has(d chunk.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.blobs[d.String()]
	return b != nil && chunk.SumBytes(b.data) == d
}

// Image is what a record stands for; empty if there is none.
func (e *Engine) Image(name string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.images[name]
}

// Snapshots are the names of committed ones, and of those that are not.
func (e *Engine) Snapshots() (committed, active []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(e.snapshots)) {
		if e.snapshots[name].active {
			active = append(active, name)
		} else {
			committed = append(committed, name)
		}
	}
	return committed, active
}

// Asked are the labels of every Prepare, in order.
func (e *Engine) Asked() []map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.asked)
}

// Leases counts those that were made and those that were released; kept is what
// any was told to keep.
func (e *Engine) Leases() (made, released int, kept []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, gone := range e.leases {
		if gone {
			released++
		}
	}
	return len(e.leases), released, slices.Clone(e.kept)
}
