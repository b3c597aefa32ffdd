//go:build linux

package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/chunk"
)

// lazyFile is a tree with one large file, none of whose bytes are here.
func lazyFile(t *testing.T, cfg Config, size int) (*requests, *Image, *memory, []byte) {
	tr := newTree()
	data := noise(1, size)
	tr.file("f", data)
	m := newMemory(t, data)
	m.lazy = true
	r, im := direct(t, cfg, tr, m)
	return r, im, m, data
}

func TestMissingBytesAreFetchedByBlocks(t *testing.T) {
	r, _, m, data := lazyFile(t, Default(), 3*chunk.BlockSize+17)
	node := r.path(t, "img/f")
	for _, c := range []struct {
		off     int64
		n       int
		fetches []string
	}{
		{100, 50, []string{"0+262144"}},
		{chunk.BlockSize - 1, 2, []string{"0+262144", "262144+262144"}[1:]},
		{0, 2 * chunk.BlockSize, nil},
		{3*chunk.BlockSize + 10, 100, []string{"786432+17"}},
	} {
		before := len(m.fetches())
		got, st := r.get(node, c.off, c.n)
		if want := data[c.off:min(c.off+int64(c.n), int64(len(data)))]; st != gofuse.OK || !bytes.Equal(got, want) {
			t.Fatalf("%d+%d: %v, %d bytes", c.off, c.n, st, len(got))
		}
		fetched := m.fetches()[before:]
		if len(c.fetches) == 1 && c.off == chunk.BlockSize-1 {
			c.fetches = []string{"0+524288"} // one range over both blocks
		}
		if !slices.Equal(fetched, c.fetches) {
			t.Errorf("%d+%d fetched %q, not %q", c.off, c.n, fetched, c.fetches)
		}
	}
}

func TestManyReadersCostOneFetch(t *testing.T) {
	r, im, m, data := lazyFile(t, Default(), 2*chunk.Size)
	m.gate = make(chan struct{})
	node := r.path(t, "img/f")
	const readers = 50
	var all sync.WaitGroup
	var wrong atomic.Int64
	for i := range readers {
		all.Go(func() {
			off := int64(i) * 4096 // all in the first block
			if got, st := r.get(node, off, 4096); st != gofuse.OK || !bytes.Equal(got, data[off:off+4096]) {
				wrong.Add(1)
			}
		})
	}
	waitFor(t, func() bool { return len(im.Status().Waits) == readers })
	if n := valueOf(t, r.fs.metrics.Waits); n != readers {
		t.Errorf("%v reads wait", n)
	}
	close(m.gate)
	all.Wait()
	if wrong.Load() != 0 || len(m.fetches()) != 1 {
		t.Errorf("%d wrong, fetched %q", wrong.Load(), m.fetches())
	}
	if s := im.Status(); len(s.Waits) != 0 || s.Errors != 0 {
		t.Errorf("afterwards: %+v", s)
	}
}

// waitFor waits for what other goroutines bring about.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}

func TestFlightsDoNotOverlap(t *testing.T) {
	r, im, m, _ := lazyFile(t, Default(), chunk.Size)
	m.gate = make(chan struct{})
	node := r.path(t, "img/f")
	var all sync.WaitGroup
	read := func(off int64, n int, waiting int) {
		all.Go(func() {
			if _, st := r.get(node, off, n); st != gofuse.OK {
				t.Error(st)
			}
		})
		waitFor(t, func() bool { return len(im.Status().Waits) == waiting })
	}
	fetches := func(want ...string) {
		t.Helper()
		waitFor(t, func() bool { return len(m.fetches()) == len(want) })
		got := m.fetches()
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("fetched %q, not %q", got, want)
		}
	}
	read(3*chunk.BlockSize, 10, 1)
	fetches("786432+262144")
	read(0, chunk.Size, 2) // before and after it
	fetches("0+786432", "1048576+3145728", "786432+262144")
	read(chunk.BlockSize, chunk.BlockSize, 3) // all of it under way
	fetches("0+786432", "1048576+3145728", "786432+262144")
	close(m.gate)
	all.Wait()
}

func TestDeadline(t *testing.T) {
	cfg := Default()
	cfg.Deadline = 50 * time.Millisecond
	r, im, m, _ := lazyFile(t, cfg, chunk.Size)
	m.gate = make(chan struct{})
	for range 3 { // the kernel asks again
		if _, st := r.get(r.path(t, "img/f"), 0, 10); st != gofuse.EIO {
			t.Fatal(st)
		}
	}
	if s := im.Status(); s.Errors != 1 || len(s.Waits) != 0 {
		t.Errorf("status %+v", s)
	}
	if n := valueOf(t, r.fs.metrics.Errors.WithLabelValues("deadline")); n != 1 {
		t.Errorf("%v errors by deadline", n)
	}
}

func TestStatusTellsWhatIsWaitedFor(t *testing.T) {
	r, im, m, data := lazyFile(t, Default(), 2*chunk.Size)
	release := make(chan struct{})
	m.failing = func(off, n int64) error {
		select {
		case <-release:
			return nil
		default:
			return errors.New("the peer is down")
		}
	}
	node := r.path(t, "img/f")
	done := make(chan gofuse.Status)
	go func() {
		_, st := r.get(node, chunk.Size+5, 10)
		done <- st
	}()
	waitFor(t, func() bool { w := im.Status().Waits; return len(w) == 1 && w[0].Reason != "" })
	w := im.Status().Waits[0]
	if w.Object != chunk.SumBytes(data) || w.Offset != chunk.Size+5 || w.Length != 10 || w.Reason != "the peer is down" || w.Since.IsZero() {
		t.Errorf("%+v", w)
	}
	close(release)
	if st := <-done; st != gofuse.OK {
		t.Errorf("after the peer came back: %v", st)
	}
}

func TestNeverFailsAtOnce(t *testing.T) {
	r, im, m, _ := lazyFile(t, Default(), chunk.Size)
	m.failing = func(int64, int64) error { return fmt.Errorf("revoked: %w", ErrNever) }
	if _, st := r.get(r.path(t, "img/f"), 0, 10); st != gofuse.EIO || im.Status().Errors != 1 {
		t.Error(st)
	}
}

func TestOpeningAnObjectIsTriedAgain(t *testing.T) {
	r, _, m, data := lazyFile(t, Default(), chunk.Size)
	var tries atomic.Int64
	m.openErr = func() error {
		if tries.Add(1) < 3 {
			return errors.New("no socket")
		}
		return nil
	}
	if got, st := r.get(r.path(t, "img/f"), 0, 10); st != gofuse.OK || !bytes.Equal(got, data[:10]) || tries.Load() != 3 {
		t.Errorf("%v after %d tries", st, tries.Load())
	}
}

// An interrupted read goes on; the one whose thread is gone ends, and takes
// nothing from the others.
func TestInterrupts(t *testing.T) {
	r, im, m, data := lazyFile(t, Default(), chunk.Size)
	m.gate = make(chan struct{})
	node := r.path(t, "img/f")
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	type result struct {
		data []byte
		st   gofuse.Status
	}
	start := func(pid int) (chan struct{}, chan result) {
		cancel, done := make(chan struct{}), make(chan result, 1)
		in := readIn(node, 0, 10)
		in.Pid = uint32(pid)
		go func() {
			buf := make([]byte, 10)
			_, st := r.Read(cancel, in, buf)
			done <- result{buf, st}
		}()
		return cancel, done
	}
	liveCancel, live := start(os.Getpid())
	unknownCancel, unknown := start(0)
	deadCancel, dead := start(gone.Process.Pid)
	waitFor(t, func() bool { return len(im.Status().Waits) == 3 })
	close(liveCancel)
	close(unknownCancel)
	close(deadCancel)
	if res := <-dead; res.st != gofuse.EINTR {
		t.Errorf("the dead reader got %v", res.st)
	}
	close(m.gate)
	for _, c := range []chan result{live, unknown} {
		if res := <-c; res.st != gofuse.OK || !bytes.Equal(res.data, data[:10]) {
			t.Errorf("an interrupted reader got %v", res.st)
		}
	}
	if n := len(m.fetches()); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestRemoveEndsWaits(t *testing.T) {
	r, im, m, data := lazyFile(t, Default(), chunk.Size)
	m.gate = make(chan struct{})
	node := r.path(t, "img/f")
	done := make(chan gofuse.Status)
	go func() {
		_, st := r.get(node, 0, 10)
		done <- st
	}()
	<-m.started
	if err := r.fs.Remove(im.ID()); err != nil {
		t.Fatal(err)
	}
	if st := <-done; st != stale {
		t.Error(st)
	}
	if m.closed != 1 || len(m.object(data).m.fetches()) != 1 {
		t.Errorf("%d objects closed", m.closed)
	}
}

func TestDroppedBytesAreFetchedAgain(t *testing.T) {
	r, _, m, data := lazyFile(t, Default(), chunk.Size)
	node := r.path(t, "img/f")
	for range 3 {
		if got, st := r.get(node, 0, 1000); st != gofuse.OK || !bytes.Equal(got, data[:1000]) {
			t.Fatal(st)
		}
		m.object(data).drop()
	}
	if n := len(m.fetches()); n != 3 {
		t.Errorf("%d fetches", n)
	}
}

// flicker is an object whose bytes are dropped while they are read.
type flicker struct {
	Object
	times atomic.Int64
}

func (f *flicker) Present(off, n int64) bool { return f.times.Add(1)%2 == 1 }

func (f *flicker) Fetch(context.Context, int64, int64) error { return nil }

type flickering struct{ *memory }

func (c flickering) Open(d chunk.Digest, size int64) (Object, error) {
	o, err := c.memory.Open(d, size)
	return &flicker{Object: o}, err
}

func TestBytesDroppedWhileReadAreNotGiven(t *testing.T) {
	tr := newTree()
	data := noise(1, chunk.Size)
	tr.file("f", data)
	r, im := direct(t, Default(), tr, flickering{newMemory(t, data)})
	if _, st := r.get(r.path(t, "img/f"), 0, 10); st != gofuse.EIO || im.Status().Errors != 1 {
		t.Error(st)
	}
}

func TestShortFileIsAnError(t *testing.T) {
	tr := newTree()
	data := noise(1, chunk.Size)
	tr.file("f", data)
	m := newMemory(t, data)
	r, im := direct(t, Default(), tr, m)
	node := r.path(t, "img/f")
	if _, st := r.get(node, 0, 10); st != gofuse.OK {
		t.Fatal(st)
	}
	if err := m.object(data).file.Truncate(1000); err != nil {
		t.Fatal(err)
	}
	if got, st := r.get(node, 900, 200); st != gofuse.EIO {
		t.Errorf("%v, %d bytes", st, len(got))
	}
	if got, st := r.get(node, 5000, 200); st != gofuse.EIO {
		t.Errorf("past the end: %v, %d bytes", st, len(got))
	}
	if im.Status().Errors != 2 || im.slots[0].backable() {
		t.Errorf("%d errors; backable %v", im.Status().Errors, im.slots[0].backable())
	}
}

func TestSignalMasks(t *testing.T) {
	for text, want := range map[string]bool{
		"Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n": true,
		"Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n": true,
		"Name:\tx\nSigPnd:\t0000000000004200\nShdPnd:\t0000000000000000\n": false,
		"Name:\tSigPnd: 100\n": false, "SigPnd": false, "": false, "\nSigPnd:\txyz\n": false,
	} {
		if got := pendingKill([]byte(text), "SigPnd:") || pendingKill([]byte(text), "ShdPnd:"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if dying(uint32(os.Getpid())) || dying(0) {
		t.Error("this process is not dying")
	}
}
