//go:build linux

package fuse

import (
	"slices"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/chunk"
)

const mib = 1 << 20

func TestSequentialWindowGrows(t *testing.T) {
	var h reader
	var asked int64
	for off := int64(0); off < 200*mib; off += mib / 2 {
		from, n := h.next(off, mib/2, 32*mib)
		if n > 0 {
			if from < asked {
				t.Fatalf("at %d: asked again from %d, asked to %d", off, from, asked)
			}
			asked = from + n
		}
		if ahead := asked - off; ahead > 33*mib || off > 8*mib && ahead < 15*mib {
			t.Fatalf("at %d: %d bytes ahead", off, ahead)
		}
	}
}

func TestRequestsThatOvertakeAreSequential(t *testing.T) {
	var h reader
	h.next(0, mib, 32*mib)
	h.next(2*mib, mib, 32*mib)
	h.next(mib, mib, 32*mib)
	if h.window != 2*mib || h.end != 3*mib {
		t.Errorf("window %d, end %d", h.window, h.end)
	}
}

func TestRandomReadsAskForTheNeighbourhood(t *testing.T) {
	var h reader
	if from, n := h.next(100*mib+5, 10, 32*mib); from != 100*mib || n != mib {
		t.Errorf("%d+%d", from, n)
	}
	if from, n := h.next(50*mib, 10, 32*mib); from != 50*mib || n != mib || h.window != 0 {
		t.Errorf("%d+%d, window %d", from, n, h.window)
	}
}

func TestASmallFileBringsItsPack(t *testing.T) {
	tr := newTree()
	pack := noise(1, 3*mib)
	p := tr.object(pack)
	tr.packed("a", p, 0, 1000)
	tr.packed("b", p, 2*mib, 1000)
	m := newMemory(t, pack)
	m.lazy = true
	r, _ := direct(t, Default(), tr, m)
	for _, name := range []string{"a", "b", "a"} {
		if _, st := r.get(r.path(t, "img/"+name), 0, 1000); st != gofuse.OK {
			t.Fatal(st)
		}
	}
	if got := m.hints(); !slices.Equal(got, []string{"0+3145728"}) {
		t.Errorf("asked ahead for %q", got)
	}
}

func TestAheadStaysInTheObject(t *testing.T) {
	r, _, m, _ := lazyFile(t, Default(), 2*chunk.Size)
	node := r.path(t, "img/f")
	for off := int64(0); off < 2*chunk.Size; off += mib {
		if _, st := r.get(node, off, mib); st != gofuse.OK {
			t.Fatal(st)
		}
	}
	if got := m.hints(); !slices.Equal(got, []string{"1048576+1048576", "2097152+2097152", "4194304+3145728", "7340032+1048576"}) {
		t.Errorf("asked ahead for %q", got)
	}
}

func TestHabitsAreForgotten(t *testing.T) {
	r, _, _, _ := lazyFile(t, Default(), 2*chunk.Size)
	node := r.path(t, "img/f")
	open := &gofuse.OpenIn{}
	open.NodeId = node
	handles := map[uint64]bool{}
	for range 3 {
		var out gofuse.OpenOut
		if st := r.Open(nil, open, &out); st != gofuse.OK || out.OpenFlags != gofuse.FOPEN_KEEP_CACHE|gofuse.FOPEN_NOFLUSH {
			t.Fatal(st, out)
		}
		in := readIn(node, 0, 10)
		in.Fh = out.Fh
		if _, st := r.Read(nil, in, make([]byte, 10)); st != gofuse.OK {
			t.Fatal(st)
		}
		handles[out.Fh] = true
	}
	if len(handles) != 3 || len(r.fs.handles.open) != 3 || len(r.fs.backings.slots) != 3 {
		t.Fatalf("%d handles, %d habits, %d backings", len(handles), len(r.fs.handles.open), len(r.fs.backings.slots))
	}
	for fh := range handles {
		in := &gofuse.ReleaseIn{Fh: fh}
		in.NodeId = node
		r.Release(nil, in)
		r.Release(nil, in) // of a handle that is not known
	}
	if n := len(r.fs.handles.open) + len(r.fs.backings.slots) + len(r.fs.backings.current); n != 0 {
		t.Errorf("%d left", n)
	}
	h := handles2(maxHandles)
	if h.reader(1<<40) != nil || h.reader(1) == nil {
		t.Error("the table is not bounded")
	}
}

func handles2(n int) *handles {
	h := &handles{}
	h.init()
	for i := range n {
		h.reader(uint64(i))
	}
	return h
}
