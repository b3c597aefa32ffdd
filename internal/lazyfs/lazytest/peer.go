//go:build linux

// Package lazytest is a peer for tests of the lazy file system: it has contents,
// and brings them into a store of its own when it is asked, chunk by chunk.
//
// All methods are safe for concurrent use.
package lazytest

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Peer is a peer.
type Peer struct {
	Dir string // of its store

	t     testing.TB
	store *diskstore.Store
	key   ed25519.PrivateKey

	mu       sync.Mutex
	contents map[chunk.Digest][]byte
	image    *nodeapi.Image
	fail     error
	room     int64
	hold     chan struct{}
	held     []chunk.Digest // empty: all
	asked    []nodeapi.FetchRequest
	opened   int
}

// New is a peer with an empty store.
func New(t testing.TB) *Peer {
	t.Helper()
	p := &Peer{Dir: filepath.Join(t.TempDir(), "store"), t: t, contents: map[chunk.Digest][]byte{}, room: -1}
	cfg := diskstore.Default()
	cfg.MinFree = 0
	var err error
	if p.store, err = diskstore.Open(p.Dir, cfg, slog.New(slog.DiscardHandler), diskstore.NewMetrics(nil)); err != nil {
		t.Fatal(err)
	}
	if _, p.key, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Add gives the peer something that it can bring.
func (p *Peer) Add(data []byte) chunk.Digest {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := chunk.SumBytes(data)
	p.contents[d] = data
	return d
}

// SetImage is what Open answers, after it brought the tree.
func (p *Peer) SetImage(i *nodeapi.Image) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.image = i
}

// Fail makes every request fail; nil ends that.
func (p *Peer) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// Hold keeps requests for bytes, of these objects or of all, waiting until the
// function that it gives is called.
func (p *Peer) Hold(objects ...chunk.Digest) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := make(chan struct{})
	p.hold, p.held = hold, objects
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hold = nil
		close(hold)
	})
}

// Asked are the requests for bytes so far, Opened how often an image was opened.
func (p *Peer) Asked() []nodeapi.FetchRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]nodeapi.FetchRequest(nil), p.asked...)
}

// Opened is how often an image was opened.
func (p *Peer) Opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

func (p *Peer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fail
}

// Open answers with the image.
func (p *Peer) Open(ctx context.Context, r nodeapi.OpenRequest, tell func(nodeapi.Progress)) (*nodeapi.Image, error) {
	p.mu.Lock()
	p.opened++
	image, fail := p.image, p.fail
	p.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	tell(nodeapi.Progress{Stage: nodeapi.StageTree, Total: image.TreeSize})
	opened := *image
	opened.Reference = r.Image
	_, err := p.bring(image.Tree, 0, image.TreeSize)
	return &opened, err
}

// Fetch brings the chunks that a range lies in.
func (p *Peer) Fetch(ctx context.Context, r nodeapi.FetchRequest) (*chunk.Bitmap, error) {
	p.mu.Lock()
	p.asked = append(p.asked, r)
	hold := p.hold
	if len(p.held) > 0 && !slices.Contains(p.held, r.Object) {
		hold = nil
	}
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	return p.bring(r.Object, r.Offset, r.Length)
}

func (p *Peer) bring(d chunk.Digest, off, n int64) (*chunk.Bitmap, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	data, ok := p.contents[d]
	if !ok {
		return nil, fmt.Errorf("%w: %s", nodeapi.ErrAbsent, d)
	}
	o, err := p.store.Create(d, int64(len(data)))
	if err != nil {
		return nil, err
	}
	defer o.Close()
	list := &chunk.List{Kind: chunk.KindFile, Object: d, Size: o.Size()}
	for i := range chunk.Count(o.Size()) {
		part := data[i*chunk.Size:][:chunk.Length(o.Size(), i)]
		sums := chunk.SumBlocks(part)
		list.Chunks = append(list.Chunks, sums.Digest())
		if at := int64(i) * chunk.Size; o.Have().Has(i) || at >= off+n || at+int64(len(part)) <= off {
			continue
		}
		if _, err := o.WriteAt(part, int64(i)*chunk.Size); err != nil {
			return nil, err
		}
		if err := o.Put(i, sums); err != nil {
			return nil, err
		}
	}
	return p.sealed(o, list)
}

// sealed seals an object, and tells its blocks.
func (p *Peer) sealed(o chunk.Object, list *chunk.List) (*chunk.Bitmap, error) {
	seal, err := chunk.Sign(p.key, list)
	if err == nil {
		err = o.Seal(list, seal)
	}
	blocks := chunk.NewBitmap(chunk.BlockCount(o.Size()))
	have := o.Have()
	for b := range blocks.Len() {
		if have.Has(b / chunk.BlocksPerChunk) {
			blocks.Set(b)
		}
	}
	return blocks, err
}

// Pin keeps objects.
func (p *Peer) Pin(_ context.Context, name string, objects []chunk.Digest) error {
	if err := p.failure(); err != nil {
		return err
	}
	return p.store.Pin(name, objects)
}

// Unpin lets go of them; with free, what no other pin keeps is removed.
func (p *Peer) Unpin(_ context.Context, name string, free bool) error {
	if err := p.failure(); err != nil {
		return err
	}
	kept := p.store.Pins()[name]
	if err := p.store.Unpin(name); err != nil {
		return err
	}
	for _, d := range kept {
		if free {
			_ = p.store.Remove(d) // one in use stays
		}
	}
	return nil
}

// Pins is what is pinned.
func (p *Peer) Pins() map[string][]chunk.Digest { return p.store.Pins() }

// Store is where the store is.
func (p *Peer) Store(context.Context) (string, error) { return p.Dir, p.failure() }

// Bytes says that everything came from the origin.
func (p *Peer) Bytes(_ context.Context, objects []chunk.Digest) (map[string]int64, error) {
	return map[string]int64{"origin": int64(len(objects))}, p.failure()
}

// Room is what SetRoom said.
func (p *Peer) Room(context.Context) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room, nil
}

// SetRoom says how much the store can come to hold.
func (p *Peer) SetRoom(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room = bytes
}

// Why says what holds bytes up: Hold does.
func (p *Peer) Why(chunk.Digest, int64, int64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold == nil {
		return ""
	}
	return "held up"
}

// Server is the peer behind a Unix socket.
func (p *Peer) Server() *nodeapi.Server {
	return &nodeapi.Server{
		Open: p.Open, Fetch: p.Fetch, Store: p.store, Dir: p.Dir,
		Bytes: func(chunk.Digest) map[string]int64 { return map[string]int64{"origin": 1} },
		Why:   p.Why,
		Room:  func() int64 { room, _ := p.Room(context.Background()); return room }, // never an error
	}
}
