package storetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// begin begins an ingest of c and writes n of its bytes, in pieces.
func (c Content) begin(t *testing.T, s chunk.Store, n, piece int) chunk.Ingest {
	t.Helper()
	in, err := s.Ingest(c.Size())
	must(t, err)
	t.Cleanup(func() { must(t, in.Abort()) })
	for at := 0; at < n; at += piece {
		p := c.Bytes[at:min(at+piece, n)]
		if got, err := in.Write(p); got != len(p) || err != nil {
			t.Fatalf("write of %d bytes at %d: %d, error %v", len(p), at, got, err)
		}
	}
	return in
}

// ingest brings all of c into the store and leaves it open until the test ends.
func (c Content) ingest(t *testing.T, s chunk.Store) chunk.Object {
	t.Helper()
	o, err := c.begin(t, s, len(c.Bytes), 3*chunk.BlockSize+1).Commit()
	must(t, err)
	t.Cleanup(func() { o.Close() })
	return o
}

// wantWhole checks that o is c, whole.
func (c Content) wantWhole(t *testing.T, o chunk.Object) {
	t.Helper()
	if o.Digest() != c.Digest || o.Size() != c.Size() {
		t.Errorf("it is %s of %d bytes, not %s of %d", o.Digest(), o.Size(), c.Digest, c.Size())
	}
	if n := c.VerifyPresent(t, o); n != chunk.Count(c.Size()) {
		t.Errorf("%d chunks of %d present", n, chunk.Count(c.Size()))
	}
}

func wantBytes(t *testing.T, s chunk.Store, bytes int64, objects int) {
	t.Helper()
	if u := s.Usage(); u.Bytes != bytes || u.Objects != objects {
		t.Errorf("the store has %d bytes in %d objects, want %d in %d", u.Bytes, u.Objects, bytes, objects)
	}
}

func testIngest(t *testing.T, s chunk.Store) {
	var room int64
	for n, size := range []int{0, 1, chunk.BlockSize, chunk.Size - 1, chunk.Size, chunk.Size + 1, 2*chunk.Size + chunk.BlockSize + 9} {
		for m, piece := range []int{size + 1, chunk.BlockSize, 100_003} {
			if size == 0 && m > 0 {
				continue
			}
			c := NewContent(byte(3*n+m), size)
			if size > chunk.Size {
				c = NewSparse(byte(3*n+m), size, 0, 3, 4, chunk.BlockCount(int64(size))-1)
			}
			in := c.begin(t, s, size, piece)
			wantBytes(t, s, room+c.Room(), 3*n+m-2*min(n, 1))
			o, err := in.Commit()
			must(t, err)
			must(t, in.Abort())
			room += c.Room()
			c.wantWhole(t, o)
			must(t, o.Sync())
			must(t, o.Close())
			c.wantWhole(t, c.open(t, s))
		}
	}
	for _, info := range s.Objects() {
		if !info.Complete() || info.Sealed || info.Used.IsZero() {
			t.Errorf("listing: %+v", info)
		}
	}
	if b := s.Usage().Bytes; b != room {
		t.Errorf("%d bytes, want %d", b, room)
	}
}

func testIngestSize(t *testing.T, s chunk.Store) {
	for _, size := range []int64{-1, chunk.MaxObject + 1, -1 << 63, 1<<63 - 1} {
		_, err := s.Ingest(size)
		wantErr(t, "ingest of an impossible size", err, chunk.ErrSize)
	}
	c := NewContent(1, chunk.BlockSize+1000)
	in := c.begin(t, s, len(c.Bytes)-1, len(c.Bytes))
	if n, err := in.Write(make([]byte, 2)); n != 0 || !errors.Is(err, chunk.ErrSize) {
		t.Errorf("one byte too many: %d taken, error %v", n, err)
	}
	if _, err := in.Write(c.Bytes[len(c.Bytes)-1:]); err != nil {
		t.Errorf("the last byte after a refusal: %v", err)
	}
	if _, err := in.Write(nil); err != nil {
		t.Errorf("nothing more: %v", err)
	}
	o, err := in.Commit()
	must(t, err)
	defer o.Close()
	c.wantWhole(t, o)

	short := NewContent(2, chunk.BlockSize+1000)
	_, err = short.begin(t, s, len(short.Bytes)-1, 1<<20).Commit()
	wantErr(t, "commit of less than was promised", err, chunk.ErrSize)
	wantBytes(t, s, c.Size(), 1)
}

func testIngestAborted(t *testing.T, s chunk.Store) {
	c := NewContent(1, chunk.Size+1000)
	in := c.begin(t, s, chunk.Size+10, 1<<20)
	wantBytes(t, s, chunk.Size, 0)
	must(t, in.Abort())
	must(t, in.Abort())
	wantBytes(t, s, 0, 0)
	_, err := in.Write([]byte{1})
	wantErr(t, "write after abort", err, chunk.ErrClosed)
	_, err = in.Commit()
	wantErr(t, "commit after abort", err, chunk.ErrClosed)
	_, err = s.Open(c.Digest)
	wantErr(t, "open what was aborted", err, chunk.ErrNotFound)

	o := c.ingest(t, s)
	must(t, o.Close())
	wantBytes(t, s, c.Size(), 1)
}

func testIngestHere(t *testing.T, s chunk.Store) {
	c := NewSparse(1, 2*chunk.Size+5, 3)
	o := c.create(t, s)
	c.Fill(t, o)
	list, seal := c.Sealed(t, 1)
	must(t, o.Seal(list, seal))
	must(t, o.Close())
	o = c.ingest(t, s)
	c.wantWhole(t, o)
	if _, _, sealed := o.Sealed(); !sealed {
		t.Error("the store's own object lost its seal")
	}
	wantBytes(t, s, c.Room(), 1)
}

// testIngestPart ingests what is there by part, with one chunk wrong, one
// written by half and one absent, while it is in use and while it is not.
func testIngestPart(t *testing.T, s chunk.Store) {
	for seed, inUse := range []bool{true, false} {
		c := NewSparse(byte(seed), 5*chunk.Size+5, 2, 20, 70)
		wrong := NewContent(9, 5*chunk.Size+5)
		o := c.create(t, s)
		c.Fill(t, o, 0)
		wrong.Fill(t, o, 1)
		wrong.Write(t, o, 2)
		if !inUse {
			must(t, o.Close())
		}
		got := c.ingest(t, s)
		c.wantWhole(t, got)
		if inUse {
			c.wantWhole(t, o)
			must(t, o.Close())
		}
		must(t, got.Sync())
		must(t, got.Close())
		wantBytes(t, s, c.Room(), 1)
		must(t, s.Remove(c.Digest))
		wantBytes(t, s, 0, 0)
	}
}

func testIngestSealed(t *testing.T, s chunk.Store) {
	c, other := NewContent(1, 2*chunk.Size), NewContent(2, 2*chunk.Size)
	o := c.create(t, s)
	must(t, o.Seal(c.Sealed(t, 1)))
	c.wantWhole(t, c.ingest(t, s))
	c.wantWhole(t, o)

	lie := other.List()
	lie.Object = NewContent(3, 2*chunk.Size).Digest
	victim := NewContent(3, 2*chunk.Size)
	_, seal := victim.Sealed(t, 1)
	must(t, victim.create(t, s).Seal(lie, seal))
	_, err := victim.begin(t, s, len(victim.Bytes), 1<<20).Commit()
	wantErr(t, "ingest of what is sealed with other chunks", err, chunk.ErrCorrupt)
	wantBytes(t, s, c.Size(), 2)
}

// testIngestReplaces ingests what the store has with a size that it cannot have.
func testIngestReplaces(t *testing.T, s chunk.Store) {
	c := NewContent(1, 1000)
	o, err := s.Create(c.Digest, 2000)
	must(t, err)
	must(t, s.Pin("a", []chunk.Digest{c.Digest}))
	_, err = c.begin(t, s, 1000, 1000).Commit()
	wantErr(t, "ingest of what is in use with another size", err, chunk.ErrSize)
	must(t, o.Close())
	c.wantWhole(t, c.ingest(t, s))
	wantBytes(t, s, 1000, 1)
}

func testIngestsAtOnce(t *testing.T, s chunk.Store) {
	c := NewSparse(1, 2*chunk.Size+99, 17)
	var wg sync.WaitGroup
	for worker := range 6 {
		in := c.begin(t, s, len(c.Bytes), 1<<20)
		wg.Go(func() {
			if worker%3 == 0 {
				o := c.create(t, s)
				for i := range 3 {
					putRacing(t, c, o, i)
				}
			}
			o, err := in.Commit()
			if err != nil {
				t.Error(err)
				return
			}
			defer o.Close()
			c.wantWhole(t, o)
		})
	}
	wg.Wait()
	wantBytes(t, s, c.Room(), 1)
}

func testIngestQuota(t *testing.T, s chunk.Store) {
	old := NewContent(1, chunk.Size)
	must(t, old.ingest(t, s).Close())
	c := NewSparse(2, 5*chunk.Size, 3)
	in, err := s.Ingest(c.Size())
	must(t, err)
	n, err := in.Write(c.Bytes)
	wantErr(t, "ingest of more than the quota", err, chunk.ErrFull)
	if n == len(c.Bytes) {
		t.Errorf("a full store took all %d bytes", n)
	}
	if b := s.Usage().Bytes; b > 4*chunk.Size {
		t.Errorf("%d bytes, over the quota", b)
	}
	if _, err := s.Open(old.Digest); err == nil {
		t.Error("an unused object was not evicted for an ingest")
	}
	_, err = in.Commit()
	wantErr(t, "commit after it was full", err, chunk.ErrFull)
	must(t, in.Abort())
	wantBytes(t, s, 0, 0)
	fits := NewSparse(3, 4*chunk.Size+chunk.BlockSize, 3)
	fits.wantWhole(t, fits.ingest(t, s))
}

// testIngestNotTwice ingests an object that is here by part; what both have
// would not fit twice, nor would what is moved from one to the other.
func testIngestNotTwice(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o := c.create(t, s)
	c.Fill(t, o, 0)
	c.wantWhole(t, c.ingest(t, s))
	c.wantWhole(t, o)
	wantBytes(t, s, c.Size(), 1)
}
