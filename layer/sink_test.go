package layer

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// memSink holds objects in memory. With discard it only names them.
type memSink struct {
	mu      sync.Mutex
	objects map[chunk.Digest][]byte
	open    int // large files neither committed nor aborted
	fail    error
}

func newMemSink() *memSink { return &memSink{objects: map[chunk.Digest][]byte{}} }

func (s *memSink) Put(data []byte) (chunk.Digest, error) {
	if s.fail != nil {
		return chunk.Digest{}, s.fail
	}
	if len(data) == 0 || len(data) > PackMax {
		return chunk.Digest{}, fmt.Errorf("a pack of %d bytes", len(data))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := chunk.SumBytes(data)
	s.objects[d] = bytes.Clone(data)
	return d, nil
}

func (s *memSink) Ingest(size int64) (Ingest, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &memIngest{sink: s, size: size}, nil
}

type memIngest struct {
	sink *memSink
	size int64
	data []byte
	done bool
}

func (i *memIngest) Write(p []byte) (int, error) {
	i.data = append(i.data, p...)
	return len(p), nil
}

func (i *memIngest) end() {
	if !i.done {
		i.sink.open--
	}
	i.done = true
}

func (i *memIngest) Commit() (chunk.Digest, error) {
	i.sink.mu.Lock()
	defer i.sink.mu.Unlock()
	if int64(len(i.data)) != i.size {
		return chunk.Digest{}, fmt.Errorf("committed %d of %d bytes", len(i.data), i.size)
	}
	i.end()
	d := chunk.SumBytes(i.data)
	i.sink.objects[d] = i.data
	return d, nil
}

func (i *memIngest) Abort() error {
	i.sink.mu.Lock()
	defer i.sink.mu.Unlock()
	i.end()
	return nil
}

// memKnown remembers the small files of earlier maps.
type memKnown struct {
	sink   *memSink
	places map[chunk.Digest]Place
	reads  int
}

func newMemKnown(sink *memSink) *memKnown {
	return &memKnown{sink: sink, places: map[chunk.Digest]Place{}}
}

func (k *memKnown) learn(t testing.TB, m *Map) {
	t.Helper()
	var e Entry
	for i := range m.Len() {
		if err := m.Entry(i, &e); err != nil {
			t.Fatal(err)
		}
		if e.Object < 0 || !m.Objects()[e.Object].Pack {
			continue
		}
		o := m.Objects()[e.Object]
		k.places[e.File] = Place{Object: o.Digest, Size: o.Size, Offset: e.Offset, File: e.File}
	}
}

func (k *memKnown) Find(file chunk.Digest) (Place, bool) {
	p, ok := k.places[file]
	return p, ok
}

func (k *memKnown) Read(p Place, buf []byte) error {
	k.reads++
	pack := k.sink.objects[p.Object]
	if p.Offset+int64(len(buf)) > int64(len(pack)) {
		return errors.New("no such place")
	}
	copy(buf, pack[p.Offset:])
	return nil
}
