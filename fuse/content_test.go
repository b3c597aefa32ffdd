//go:build linux

package fuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// memory is a [Content] whose objects are in temporary files. Blocks are absent
// (filled with garbage) until they are fetched, if lazy is set.
type memory struct {
	dir     string
	lazy    bool
	gate    chan struct{} // fetches wait until it is closed; nil is no wait
	failing func(off, n int64) error
	openErr func() error

	mu      sync.Mutex
	data    map[chunk.Digest][]byte
	open    map[chunk.Digest]*memoryObject
	fetched []string // "offset+length"
	ahead   []string
	started chan struct{} // gets a token for each fetch begun
	closed  int
}

func newMemory(tb testing.TB, objects ...[]byte) *memory {
	m := &memory{
		dir: tb.TempDir(), data: map[chunk.Digest][]byte{}, open: map[chunk.Digest]*memoryObject{},
		started: make(chan struct{}, 10000),
	}
	for _, o := range objects {
		m.data[chunk.SumBytes(o)] = o
	}
	return m
}

type memoryObject struct {
	m    *memory
	file *os.File
	data []byte
	have *chunk.Bitmap
}

func (m *memory) Open(d chunk.Digest, size int64) (Object, error) {
	if m.openErr != nil {
		if err := m.openErr(); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.data[d]
	if !ok || int64(len(data)) != size {
		return nil, fmt.Errorf("object %s of %d bytes: %w", d, size, ErrNever)
	}
	if m.open[d] != nil {
		return nil, errors.New("opened twice")
	}
	path := filepath.Join(m.dir, d.Hex())
	o := &memoryObject{m: m, data: data, have: chunk.NewBitmap(chunk.BlockCount(size))}
	begin := data
	if m.lazy {
		begin = noise(99, len(data))
	} else {
		o.have.SetAll()
	}
	if err := os.WriteFile(path, begin, 0o600); err != nil {
		return nil, err
	}
	var err error
	if o.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	m.open[d] = o
	return o, nil
}

func (o *memoryObject) File() *os.File { return o.file }

func (o *memoryObject) Present(off, n int64) bool {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	for b := off / chunk.BlockSize; b*chunk.BlockSize < off+n; b++ {
		if !o.have.Has(int(b)) {
			return false
		}
	}
	return true
}

func (o *memoryObject) Complete() bool {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	return o.have.Full()
}

func (o *memoryObject) Fetch(ctx context.Context, off, n int64) error {
	o.m.mu.Lock()
	o.m.fetched = append(o.m.fetched, fmt.Sprintf("%d+%d", off, n))
	gate, failing := o.m.gate, o.m.failing
	o.m.mu.Unlock()
	o.m.started <- struct{}{}
	if failing != nil {
		if err := failing(off, n); err != nil {
			return err
		}
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return o.fill(off, n)
}

func (o *memoryObject) fill(off, n int64) error {
	if _, err := o.file.WriteAt(o.data[off:off+n], off); err != nil {
		return err
	}
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	for b := off / chunk.BlockSize; b*chunk.BlockSize < off+n; b++ {
		o.have.Set(int(b))
	}
	return nil
}

// drop makes all bytes absent again.
func (o *memoryObject) drop() {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	for b := range o.have.Len() {
		o.have.Clear(b)
	}
	o.file.WriteAt(noise(98, len(o.data)), 0)
}

func (o *memoryObject) Ahead(off, n int64) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	o.m.ahead = append(o.m.ahead, fmt.Sprintf("%d+%d", off, n))
}

func (o *memoryObject) Close() error {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	o.m.closed++
	return o.file.Close()
}

func (m *memory) fetches() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.fetched...)
}

func (m *memory) hints() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.ahead...)
}

func (m *memory) object(data []byte) *memoryObject {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open[chunk.SumBytes(data)]
}
