package download

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/memstore"
	"github.com/shoal-project/shoal/distribution"
)

// registry is a fake origin with one object.
type registry struct {
	content   []byte
	unranged  bool
	refuse    string // an Authorization that is answered 401
	truncate  atomic.Int32
	opened    atomic.Int32
	atOnce    atomic.Int32
	mostAtOne atomic.Int32
	sent      atomic.Int64
}

func (r *registry) Stat(context.Context, distribution.Source) (int64, error) {
	return int64(len(r.content)), nil
}

func (r *registry) Open(_ context.Context, src distribution.Source) (distribution.Blob, error) {
	r.opened.Add(1)
	if r.refuse != "" && src.Authorization == r.refuse {
		return nil, &distribution.OriginError{Status: 401, Message: "expired"}
	}
	return &remote{r}, nil
}

type remote struct{ r *registry }

func (b *remote) Size() int64  { return int64(len(b.r.content)) }
func (b *remote) Ranged() bool { return !b.r.unranged }
func (b *remote) Close() error { return nil }

func (b *remote) Read(_ context.Context, off, n int64) (io.ReadCloser, error) {
	now := b.r.atOnce.Add(1)
	for most := b.r.mostAtOne.Load(); now > most && !b.r.mostAtOne.CompareAndSwap(most, now); most = b.r.mostAtOne.Load() {
	}
	p := b.r.content[off : off+n]
	if b.r.truncate.Add(-1) >= 0 {
		p = p[:len(p)/2]
	}
	return &body{Reader: bytes.NewReader(p), r: b.r}, nil
}

type body struct {
	io.Reader
	r    *registry
	once sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	n, err := b.Reader.Read(p)
	b.r.sent.Add(int64(n))
	return n, err
}

func (b *body) Close() error { b.once.Do(func() { b.r.atOnce.Add(-1) }); return nil }

// alone is an engine without a swarm.
func alone(t *testing.T, r *registry, store chunk.Store) *Engine {
	e, err := New(Default(), Deps{
		Self: "self", Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Store: store, Origin: r,
		Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func bytesOf(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 7)
	}
	return p
}

func from(r *registry, auth string) distribution.Source {
	return distribution.Source{Registry: "r", Repository: "n", Digest: chunk.SumBytes(r.content), Authorization: auth}
}

// read copies a part of the object.
func read(t *testing.T, e *Engine, src distribution.Source, off, n int64) ([]byte, error) {
	rd, err := e.Open(t.Context(), src)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	if n < 0 {
		n = rd.Size()
	}
	var w bytes.Buffer
	_, err = rd.CopyRange(t.Context(), &w, off, n)
	return w.Bytes(), err
}

func TestAloneReadsWholeAndParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(9<<20 + 77)}
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		for _, part := range []struct{ off, n int64 }{{8 << 20, 1000}, {0, -1}, {9 << 20, 77}, {5, 0}} {
			got, err := read(t, e, from(r, ""), part.off, part.n)
			if err != nil {
				t.Fatal(err)
			}
			want := r.content[part.off:]
			if part.n >= 0 {
				want = want[:part.n]
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes at %d are wrong", part.n, part.off)
			}
		}
		if r.sent.Load() != int64(len(r.content)) {
			t.Errorf("the origin sent %d bytes of %d", r.sent.Load(), len(r.content))
		}
		if most := r.mostAtOne.Load(); most > 4 {
			t.Errorf("%d ranges were in flight at once, more than 4", most)
		}
		if _, ok := e.Holds(chunk.SumBytes(r.content)); !ok {
			t.Error("the object is not held after it was read whole")
		}
	})
}

func TestReadsOutsideTheObjectAreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(1000)}
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		for _, part := range []struct{ off, n int64 }{{0, 1001}, {1001, 1}, {-1, 5}, {1000, 1}} {
			if _, err := read(t, e, from(r, ""), part.off, part.n); part.n >= 0 && err == nil {
				t.Errorf("%d bytes at %d of 1000: no error", part.n, part.off)
			}
		}
	})
}

func TestUnrangedOriginIsReadInOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(13 << 20), unranged: true}
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		got, err := read(t, e, from(r, ""), 0, -1)
		if err != nil || !bytes.Equal(got, r.content) {
			t.Fatalf("wrong bytes (%v)", err)
		}
		if most := r.mostAtOne.Load(); most != 1 {
			t.Errorf("%d streams at once, want 1", most)
		}
	})
}

func TestBrokenRangesAreFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(20 << 20)}
		r.truncate.Store(2)
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		got, err := read(t, e, from(r, ""), 0, -1)
		if err != nil || !bytes.Equal(got, r.content) {
			t.Fatalf("wrong bytes (%v)", err)
		}
	})
}

func TestOriginThatKeepsBreakingIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(20 << 20)}
		r.truncate.Store(1000)
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		if _, err := read(t, e, from(r, ""), 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want an unexpected EOF", err)
		}
	})
}

// Nobody joins an object that is all here and not proved yet.
func TestReadersWaitForTheProof(t *testing.T) {
	content := bytesOf(5 << 20)
	e := alone(t, &registry{content: content}, memstore.New(0))
	defer e.Close()
	x := inStore(t, e, content)
	x.looping, x.sure = true, true
	if x.readable() {
		t.Error("readers may come before the whole is proved")
	}
	x.list = &chunk.List{}
	if !x.readable() {
		t.Error("readers may not come although it is proved")
	}
	x.list = nil
	x.held.Clear(3)
	if !x.readable() {
		t.Error("readers may not come while it is fetched")
	}
	x.looping = false
}

// inStore is a task of an object that the store has, in the engine.
func inStore(t *testing.T, e *Engine, content []byte) *task {
	t.Helper()
	x := newTask(e, chunk.SumBytes(content))
	obj, err := e.deps.Store.Create(x.id, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := obj.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	for c := range chunk.Count(int64(len(content))) {
		begin := int64(c) * chunk.Size
		if err := obj.Put(c, chunk.SumBlocks(content[begin:begin+chunk.Length(int64(len(content)), c)])); err != nil {
			t.Fatal(err)
		}
	}
	x.attach(obj)
	e.tasks[x.id] = x
	return x
}

// The next task of an object whose whole proved wrong begins when nothing of the
// wrong bytes is in the store, and nobody writes any more.
func TestNothingOfAWrongWholeIsSeenAgain(t *testing.T) {
	r := &registry{content: bytesOf(5 << 20)}
	e := alone(t, r, memstore.New(0))
	defer e.Close()
	x := inStore(t, e, r.content)
	f := &fetch{cancel: func(error) {}}
	x.fetches[f] = struct{}{}
	x.fail(ErrWhole, true)
	if n := x.obj.Have().Count(); n != 0 {
		t.Errorf("%d chunks are left in the store", n)
	}
	opened := make(chan error, 1)
	go func() {
		got, err := read(t, e, from(r, ""), 0, -1)
		if err == nil && !bytes.Equal(got, r.content) {
			err = errors.New("other bytes")
		}
		opened <- err
	}()
	_, leaving, err := e.tryTake(from(r, ""), -1, true)
	if leaving != x.gone || err != nil {
		t.Errorf("the next begins beside a fetch of the last (%v)", err)
	}
	x.mu.Lock()
	delete(x.fetches, f)
	x.mu.Unlock()
	x.leave()
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if err := x.obj.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnotherCallersCredentialsAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(9 << 20), refuse: "Bearer expired"}
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		if _, err := read(t, e, from(r, "Bearer expired"), 0, -1); err == nil {
			t.Fatal("the refused caller got bytes")
		}
		first, err := e.Open(t.Context(), from(r, "Bearer good"))
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if got, err := read(t, e, from(r, "Bearer expired"), 0, -1); err != nil || !bytes.Equal(got, r.content) {
			t.Errorf("a download that is running was not shared: %v", err)
		}
	})
}

func TestStoredChunksAreNotFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(0)
		r := &registry{content: bytesOf(10 << 20)}
		obj, err := store.Create(chunk.SumBytes(r.content), 10<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := obj.WriteAt(r.content[:chunk.Size], 0); err != nil {
			t.Fatal(err)
		}
		if err := obj.Put(0, chunk.SumBlocks(r.content[:chunk.Size])); err != nil {
			t.Fatal(err)
		}
		obj.Close()
		e := alone(t, r, store)
		defer e.Close()
		if got, err := read(t, e, from(r, ""), 0, -1); err != nil || !bytes.Equal(got, r.content) {
			t.Fatalf("wrong bytes (%v)", err)
		}
		if got, want := r.sent.Load(), int64(10<<20-chunk.Size); got != want {
			t.Errorf("the origin sent %d bytes, want %d", got, want)
		}
		x, _ := e.Explain(chunk.SumBytes(r.content))
		came := map[string]int64{}
		for _, p := range x.Parts {
			came[p.Kind] += p.Bytes
		}
		if came[fromStore] != chunk.Size || came[fromOrigin] != 10<<20-chunk.Size {
			t.Errorf("it is told that it came as %v", came)
		}
	})
}

func TestFullStoreIsAnErrorAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(20 << 20)}
		e := alone(t, r, memstore.New(8<<20))
		defer e.Close()
		if _, err := read(t, e, from(r, ""), 0, -1); !errors.Is(err, chunk.ErrFull) {
			t.Errorf("got %v, want ErrFull", err)
		}
		time.Sleep(time.Second)
		small := &registry{content: bytesOf(1000)}
		e.deps.Origin = small
		if got, err := read(t, e, from(small, ""), 0, -1); err != nil || !bytes.Equal(got, small.content) {
			t.Errorf("a small object after it: %v", err)
		}
	})
}

func TestCloseEndsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(200 << 20)}
		e := alone(t, r, memstore.New(0))
		rd, err := e.Open(t.Context(), from(r, ""))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- rd.Wait(t.Context()) }()
		synctest.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, errStopped) {
			t.Errorf("the reader ended with %v, want errStopped", err)
		}
		rd.Close()
		if _, err := e.Open(t.Context(), from(r, "")); err == nil {
			t.Error("a closed engine opened an object")
		}
	})
}

// What the store lost and was given again by somebody else is here again, also for
// uploads that are open.
func TestStoreIsMendedBesideTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(9 << 20)}
		store := memstore.New(0)
		id := chunk.SumBytes(r.content)
		first := alone(t, r, store)
		if _, err := read(t, first, from(r, ""), 0, -1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // until it is sealed
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		obj, err := store.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		if err := obj.Drop(1); err != nil {
			t.Fatal(err)
		}
		e := alone(t, r, store)
		defer e.Close()
		up, err := e.Upload(id)
		if err != nil {
			t.Fatal(err)
		}
		defer up.Close()
		if _, ok := e.Holds(id); ok {
			t.Error("it holds what lacks a chunk")
		}
		part := r.content[chunk.Size : 2*chunk.Size]
		if _, err := obj.WriteAt(part, chunk.Size); err != nil {
			t.Fatal(err)
		}
		if err := obj.Put(1, chunk.SumBlocks(part)); err != nil {
			t.Fatal(err)
		}
		if _, ok := e.Holds(id); !ok {
			t.Error("it does not see that the chunk is back")
		}
		if n, err := up.Await(t.Context(), chunk.Size, chunk.Size); err != nil || n == 0 {
			t.Errorf("an upload that was open: %d, %v", n, err)
		}
	})
}

func TestUploadOfWhatIsNotHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{content: bytesOf(9 << 20)}
		e := alone(t, r, memstore.New(0))
		defer e.Close()
		id := chunk.SumBytes(r.content)
		if _, err := e.Upload(id); !errors.Is(err, chunk.ErrNotFound) {
			t.Errorf("before: got %v, want ErrNotFound", err)
		}
		if _, err := read(t, e, from(r, ""), 0, -1); err != nil {
			t.Fatal(err)
		}
		up, err := e.Upload(id)
		if err != nil {
			t.Fatal(err)
		}
		defer up.Close()
		if sums := up.Sums(2); sums.Digest() != chunk.SumBlocks(r.content[2*chunk.Size:]).Digest() {
			t.Error("wrong block digests are given away")
		}
		if n, err := up.Await(t.Context(), chunk.Size, chunk.Size); err != nil || n == 0 {
			t.Errorf("await: %d, %v", n, err)
		}
		if _, err := up.Await(t.Context(), 9<<20, 1); !errors.Is(err, distribution.ErrAbsent) {
			t.Errorf("behind the end: got %v, want ErrAbsent", err)
		}
	})
}
