//go:build linux

package content

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/lazyfs/lazytest"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/layer/erofs"
)

func random(seed uint64, size int) []byte {
	p := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(p)
	return p
}

type fixture struct {
	*testing.T
	peer  *lazytest.Peer
	table *Table
	image *Image
	data  [][]byte
}

// serve has an image of these objects, of which nothing is here.
func serve(t *testing.T, cfg Config, data ...[]byte) *fixture {
	t.Helper()
	f := &fixture{T: t, peer: lazytest.New(t), data: data}
	f.table = f.newTable(cfg)
	f.image = f.newImage(f.table)
	return f
}

func (f *fixture) newTable(cfg Config) *Table {
	table := New(cfg, f.peer, func() string { return f.peer.Dir }, slog.New(slog.DiscardHandler), NewMetrics(nil))
	f.Cleanup(table.Close)
	return table
}

func (f *fixture) newImage(table *Table) *Image {
	var devices []erofs.Device
	for _, d := range f.data {
		devices = append(devices, erofs.Device{Object: f.peer.Add(d), Size: int64(len(d))})
	}
	image := table.Image(Source{Registry: "r", Repository: "app", Reopen: f.reopen}, devices)
	f.Cleanup(image.Close)
	return image
}

func (f *fixture) reopen(ctx context.Context) error {
	_, err := f.peer.Open(ctx, nodeapi.OpenRequest{}, func(nodeapi.Progress) {})
	return err
}

func (f *fixture) open(m *Image, i int) *Handle {
	f.Helper()
	h, err := m.Open(chunk.SumBytes(f.data[i]), int64(len(f.data[i])))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	return h
}

// same reads a range that is present.
func (f *fixture) same(h *Handle, i int, off, n int64) {
	f.Helper()
	if !h.Present(off, n) {
		f.Fatalf("bytes %d to %d are not present", off, off+n)
	}
	got := make([]byte, n)
	if _, err := h.File().ReadAt(got, off); err != nil || !bytes.Equal(got, f.data[i][off:off+n]) {
		f.Fatalf("bytes %d to %d differ (%v)", off, off+n, err)
	}
}

func TestDemand(t *testing.T) {
	f := serve(t, Default(), random(1, 2*chunk.Size+1000))
	h := f.open(f.image, 0)
	if h.File() != nil || h.Present(0, 1) || h.Complete() {
		t.Fatal("something is here before anything was brought")
	}
	if err := h.Fetch(t.Context(), chunk.Size+5, 10); err != nil {
		t.Fatal(err)
	}
	f.same(h, 0, chunk.Size, chunk.Size)
	if h.Present(0, 1) || h.Present(chunk.Size, chunk.Size+1) {
		t.Error("more is present than was brought")
	}
	asked := f.peer.Asked()
	if len(asked) != 1 || asked[0].Offset != chunk.Size || asked[0].Length != chunk.BlockSize || asked[0].Background || asked[0].Repository != "app" {
		t.Errorf("asked %+v", asked)
	}
	if err := h.Fetch(t.Context(), 0, int64(len(f.data[0]))); err != nil || !h.Complete() {
		t.Fatalf("complete: %v, %v", h.Complete(), err)
	}
	f.same(h, 0, 0, int64(len(f.data[0])))
	select {
	case <-f.image.Done():
	default:
		t.Error("the image does not know that it is complete")
	}
	p := f.image.Progress()
	if !p.Whole() || p.Present != int64(len(f.data[0])) || p.Fetched() != p.Present || p.Became[byDemand] != p.Present {
		t.Errorf("progress %+v", p)
	}
	if err := h.Fetch(t.Context(), 0, int64(len(f.data[0]))+1); err == nil {
		t.Error("a range beyond the object was brought")
	}
}

func TestAhead(t *testing.T) {
	f := serve(t, Default(), random(2, 3*chunk.Size))
	h := f.open(f.image, 0)
	h.Ahead(0, 2*chunk.Size)
	h.Ahead(0, 2*chunk.Size) // asked for already
	f.eventually(func() bool { return h.Present(0, 2*chunk.Size) })
	if n := len(f.peer.Asked()); n != 2 {
		t.Errorf("%d requests for two chunks", n)
	}
	f.same(h, 0, 0, 2*chunk.Size)
}

// eventually waits for something that another goroutine does.
func (f *fixture) eventually(done func() bool) {
	f.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.Fatal("it does not happen")
		}
	}
}

// What the disk has is served without the peer, once it was hashed; wrong bytes
// and missing ones are not.
func TestPeerAway(t *testing.T) {
	f := serve(t, Default(), random(3, 2*chunk.Size), random(4, 2*chunk.Size))
	for i := range f.data {
		if err := f.open(f.image, i).Fetch(t.Context(), 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(f.peer.Dir, chunk.SumBytes(f.data[1]).Hex()[:2], chunk.SumBytes(f.data[1]).Hex())
	file, err := os.OpenFile(bad, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("wrong"), 100); err != nil || file.Close() != nil {
		t.Fatal(err)
	}
	f.peer.Fail(nodeapi.ErrAway)
	fresh := f.newImage(f.newTable(Default())) // a daemon that starts
	good, wrong := f.open(fresh, 0), f.open(fresh, 1)
	if good.Present(0, 1) || wrong.Present(0, 1) {
		t.Fatal("believed without the peer's word or a proof")
	}
	if err := good.Fetch(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	f.same(good, 0, 0, chunk.Size)
	if err := good.Fetch(t.Context(), chunk.Size, 1); !errors.Is(err, nodeapi.ErrAway) {
		t.Errorf("what is missing: %v", err)
	}
	for range 2 {
		if err := wrong.Fetch(t.Context(), 0, 1); !errors.Is(err, nodeapi.ErrAway) {
			t.Errorf("wrong bytes: %v", err)
		}
	}
	f.peer.Fail(nil)
	if err := good.Fetch(t.Context(), chunk.Size, 1); err != nil {
		t.Errorf("the peer is back: %v", err)
	}
	f.same(good, 0, 0, 2*chunk.Size)
}

// What nobody has is derived anew.
func TestAbsent(t *testing.T) {
	f := serve(t, Default(), random(5, 1000))
	f.peer.SetImage(&nodeapi.Image{Tree: f.peer.Add([]byte("tree")), TreeSize: 4})
	f.peer.Fail(nodeapi.ErrAbsent)
	h := f.open(f.image, 0)
	for range 3 {
		if err := h.Fetch(t.Context(), 0, 1); !errors.Is(err, nodeapi.ErrAbsent) {
			t.Fatal(err)
		}
	}
	if f.peer.Opened() != 1 {
		t.Errorf("opened %d times in a moment", f.peer.Opened())
	}
}

func TestFill(t *testing.T) {
	cfg := Default()
	cfg.FillRate = 1 << 30
	f := serve(t, cfg, random(6, 3*chunk.Size), random(7, 100), random(8, chunk.Size))
	if err := f.open(f.image, 0).Fetch(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := f.image.Fill(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	p := f.image.Progress()
	if !p.Whole() || p.Became[byFill] != 3*chunk.Size+100 || p.Became[byDemand] != chunk.Size {
		t.Errorf("progress %+v", p)
	}
	for _, r := range f.peer.Asked()[2:] { // after the read, and the question what is here
		if !r.Background || r.Length > chunk.Size {
			t.Errorf("asked %+v", r)
		}
	}
}

// A fill waits while a read does, and goes on after a failure.
func TestFillIsBehindReads(t *testing.T) {
	f := serve(t, Default(), random(9, chunk.Size), random(10, chunk.Size))
	h := f.open(f.image, 0)
	release := f.peer.Hold()
	read := make(chan error)
	go func() { read <- h.Fetch(t.Context(), 0, 1) }()
	f.eventually(func() bool { return len(f.peer.Asked()) == 1 })
	filled := make(chan error)
	go func() { filled <- f.image.Fill(t.Context(), func(error) {}) }()
	release()
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if err := <-filled; err != nil {
		t.Fatal(err)
	}
	if asked := f.peer.Asked(); asked[0].Background || !asked[len(asked)-1].Background {
		t.Errorf("asked %+v", asked)
	}
}

func TestFillEndsWithItsContext(t *testing.T) {
	f := serve(t, Default(), random(11, 1000))
	f.peer.Fail(nodeapi.ErrAway)
	ctx, cancel := context.WithCancel(t.Context())
	if err := f.image.Fill(ctx, func(error) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// An image whose bytes nobody has keeps no other from its own, whatever for they are
// wanted.
func TestImagesDoNotWaitForEachOther(t *testing.T) {
	cfg := Default()
	cfg.Demand, cfg.Ahead, cfg.Fill = 2, 2, 2
	f := serve(t, cfg, random(30, 20*chunk.Size))
	held := f.image
	f.data = [][]byte{random(31, 8*chunk.Size)}
	other := f.newImage(f.table)
	defer f.peer.Hold(held.Objects()...)()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stuck, err := held.Open(held.Objects()[0], 20*chunk.Size)
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	asked := func(n int) {
		f.eventually(func() bool { return len(f.peer.Asked()) >= n })
	}
	waiting.Go(func() { _ = held.Fill(ctx, func(error) {}) })
	asked(cfg.Fill)
	stuck.Ahead(8*chunk.Size, 4*chunk.Size)
	asked(cfg.Fill + cfg.Ahead)
	for i := range int64(4) {
		waiting.Go(func() { _ = stuck.Fetch(ctx, i*chunk.Size, 1) })
	}
	asked(cfg.Fill + cfg.Ahead + cfg.Demand)
	h := f.open(other, 0)
	if err := h.Fetch(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	h.Ahead(4*chunk.Size, chunk.Size)
	f.eventually(func() bool { return h.Present(4*chunk.Size, chunk.Size) })
	if err := other.Fill(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	cancel()
	waiting.Wait()
	if err := stuck.Close(); err != nil {
		t.Error(err)
	}
}

// A reader that leaves takes nothing from the table.
func TestReaderLeaves(t *testing.T) {
	f := serve(t, Default(), random(12, 1000))
	h := f.open(f.image, 0)
	defer f.peer.Hold()()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Fetch(ctx, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if len(f.image.demand) != 0 {
		t.Error("its place is taken for good")
	}
}

func TestSharedObject(t *testing.T) {
	f := serve(t, Default(), random(13, chunk.Size))
	other := f.newImage(f.table)
	h := f.open(f.image, 0)
	if err := h.Fetch(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	f.same(f.open(other, 0), 0, 0, chunk.Size)
	<-other.Done()
	if p := other.Progress(); !p.Whole() || p.Fetched() != 0 {
		t.Errorf("progress %+v", p)
	}
}

// A store that lost an object and brought it anew has another file, and what was
// true of the old one is not of the new.
func TestReplacedFile(t *testing.T) {
	f := serve(t, Default(), random(14, 2*chunk.Size))
	h := f.open(f.image, 0)
	if err := h.Fetch(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	path := f.table.path(chunk.SumBytes(f.data[0]))
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".new", copied, 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	if err := h.Fetch(t.Context(), chunk.Size, 1); !errors.Is(err, ErrReplaced) {
		t.Errorf("fetched into another file: %v", err)
	}
	f.same(h, 0, 0, chunk.Size)
	if _, err := f.image.Open(chunk.SumBytes(f.data[0]), 2*chunk.Size); !errors.Is(err, ErrReplaced) {
		t.Errorf("opened: %v", err)
	}
}

func TestVerify(t *testing.T) {
	f := serve(t, Default(), random(15, chunk.Size+10), random(16, chunk.Size), random(17, 10))
	for i, n := range []int64{chunk.Size + 10, 1} {
		if err := f.open(f.image, i).Fetch(t.Context(), 0, n); err != nil {
			t.Fatal(err)
		}
	}
	v, err := f.image.Verify(t.Context(), func(Verified) {})
	if err != nil || len(v.Bad) != 0 || v.Objects != 3 || v.Bytes != 2*chunk.Size+10 || v.Total != 2*chunk.Size+20 {
		t.Errorf("%+v, %v", v, err)
	}
	file, err := os.OpenFile(f.table.path(chunk.SumBytes(f.data[0])), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte{f.data[0][chunk.Size+3] ^ 1}, chunk.Size+3); err != nil {
		t.Fatal(err)
	}
	if v, err = f.image.Verify(t.Context(), func(Verified) {}); err != nil {
		t.Fatal(err)
	}
	if len(v.Bad) != 2 || !strings.Contains(v.Bad[0], "chunk 1 of 2: its bytes do not match its block digests") || !strings.Contains(v.Bad[1], "the whole") {
		t.Errorf("bad: %q", v.Bad)
	}
}
