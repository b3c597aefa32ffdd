package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shoal-project/shoal/chunk"
)

func testOpenCreate(t *testing.T, s chunk.Store) {
	c := NewContent(1, chunk.Size+1000)
	_, err := s.Open(c.Digest)
	wantErr(t, "open what is not there", err, chunk.ErrNotFound)

	o := c.create(t, s)
	if o.Digest() != c.Digest || o.Size() != c.Size() || o.Have().Len() != 2 || o.Have().Count() != 0 {
		t.Errorf("a new object is %s, %d bytes, %d of %d chunks", o.Digest(), o.Size(), o.Have().Count(), o.Have().Len())
	}
	c.Fill(t, o, 1)
	again := c.create(t, s)
	if !again.Have().Has(1) {
		t.Error("create of what is there lost its chunk")
	}
	must(t, o.Close())
	must(t, again.Close())
	if n := c.VerifyPresent(t, c.open(t, s)); n != 1 {
		t.Errorf("%d chunks after closing all handles, want 1", n)
	}
}

func testCreateSize(t *testing.T, s chunk.Store) {
	c := NewContent(1, 1000)
	for _, size := range []int64{-1, chunk.MaxObject + 1, -1 << 63, 1<<63 - 1} {
		_, err := s.Create(c.Digest, size)
		wantErr(t, "create of an impossible size", err, chunk.ErrSize)
	}
	o := c.create(t, s)
	_, err := s.Create(c.Digest, 2000)
	wantErr(t, "create of another size, in use", err, chunk.ErrSize)

	c.Fill(t, o)
	must(t, o.Close())
	o, err = s.Create(c.Digest, 2000)
	must(t, err)
	if o.Size() != 2000 || o.Have().Count() != 0 {
		t.Errorf("the replacement has %d bytes and %d chunks", o.Size(), o.Have().Count())
	}
	must(t, o.Close())

	o = c.create(t, s)
	must(t, o.Seal(c.Sealed(t, 1)))
	must(t, o.Close())
	_, err = s.Create(c.Digest, 2000)
	wantErr(t, "create of another size, sealed", err, chunk.ErrSize)
}

func testRemove(t *testing.T, s chunk.Store) {
	c := NewContent(1, 1000)
	wantErr(t, "remove what is not there", s.Remove(c.Digest), chunk.ErrNotFound)
	o := c.create(t, s)
	c.Fill(t, o)
	must(t, o.Seal(c.Sealed(t, 1)))
	wantErr(t, "remove what is open", s.Remove(c.Digest), chunk.ErrInUse)
	must(t, o.Close())
	must(t, s.Remove(c.Digest))
	_, err := s.Open(c.Digest)
	wantErr(t, "open what was removed", err, chunk.ErrNotFound)
	if u := s.Usage(); u.Bytes != 0 || u.Objects != 0 {
		t.Errorf("after remove the store has %d bytes in %d objects", u.Bytes, u.Objects)
	}
	o = c.create(t, s)
	if _, _, sealed := o.Sealed(); sealed || o.Have().Count() != 0 {
		t.Error("a removed object came back with its seal or chunks")
	}
}

func testListing(t *testing.T, s chunk.Store) {
	if got := s.Objects(); len(got) != 0 {
		t.Errorf("an empty store lists %v", got)
	}
	a, b := NewContent(1, 2*chunk.Size), NewContent(2, 100)
	first := a.create(t, s)
	a.Fill(t, first, 0)
	second := b.create(t, s)
	b.Fill(t, second)
	must(t, second.Seal(b.Sealed(t, 1)))
	must(t, second.Close())
	want := []chunk.Info{
		{Digest: a.Digest, Size: a.Size(), Present: 1, InUse: true},
		{Digest: b.Digest, Size: b.Size(), Present: 1, Sealed: true},
	}
	got := s.Objects()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(chunk.Info{}, "Used"),
		cmpopts.SortSlices(func(x, y chunk.Info) bool { return x.Size > y.Size })); diff != "" {
		t.Errorf("listing (-want +got):\n%s", diff)
	}
	before := used(s, b.Digest)
	b.open(t, s)
	if after := used(s, b.Digest); after.IsZero() || after.Before(before) {
		t.Errorf("open moved the last use from %v to %v", before, after)
	}
}

func testUsage(t *testing.T, s chunk.Store) {
	c := NewContent(1, chunk.Size+1000)
	o := c.create(t, s)
	want := func(what string, bytes int64) {
		t.Helper()
		if u := s.Usage(); u.Bytes != bytes || u.Objects != 1 {
			t.Errorf("%s: %d bytes in %d objects, want %d in 1", what, u.Bytes, u.Objects, bytes)
		}
	}
	want("new", 0)
	c.Write(t, o, 1)
	want("written", 1000)
	c.Write(t, o, 1)
	want("written twice", 1000)
	must(t, o.Put(1, c.Sums(1)))
	want("put", 1000)
	c.Fill(t, o, 0)
	want("whole", c.Size())
	must(t, o.Drop(1))
	want("dropped", chunk.Size)
}

func testClosedStore(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o := c.create(t, s)
	c.Fill(t, o, 0)
	in, err := s.Ingest(1)
	must(t, err)
	must(t, s.Close())
	_, err = s.Open(c.Digest)
	wantErr(t, "open", err, chunk.ErrClosed)
	_, err = s.Create(c.Digest, c.Size())
	wantErr(t, "create", err, chunk.ErrClosed)
	wantErr(t, "remove", s.Remove(c.Digest), chunk.ErrClosed)
	_, err = s.Ingest(1)
	wantErr(t, "ingest", err, chunk.ErrClosed)
	wantErr(t, "pin", s.Pin("a", nil), chunk.ErrClosed)
	wantErr(t, "unpin", s.Unpin("a"), chunk.ErrClosed)
	_, err = in.Write([]byte{1})
	wantErr(t, "write of an ingest", err, chunk.ErrClosed)
	_, err = in.Commit()
	wantErr(t, "commit", err, chunk.ErrClosed)
	must(t, in.Abort())
	wantClosed(t, c, o)
}

func testClosedHandle(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o, other := c.create(t, s), c.create(t, s)
	must(t, o.Close())
	wantClosed(t, c, o)
	wantErr(t, "close", o.Close(), chunk.ErrClosed)
	c.Fill(t, other)
	if n := c.VerifyPresent(t, other); n != 2 {
		t.Errorf("the other handle has %d chunks, want 2", n)
	}
}

// wantClosed tries everything that can fail on a handle.
func wantClosed(t *testing.T, c Content, o chunk.Object) {
	t.Helper()
	_, err := o.WriteAt(c.Chunk(1), chunk.Size)
	wantErr(t, "write", err, chunk.ErrClosed)
	wantErr(t, "put", o.Put(1, c.Sums(1)), chunk.ErrClosed)
	_, err = o.ReadAt(make([]byte, 1), 0)
	wantErr(t, "read", err, chunk.ErrClosed)
	wantErr(t, "drop", o.Drop(0), chunk.ErrClosed)
	wantErr(t, "seal", o.Seal(c.Sealed(t, 1)), chunk.ErrClosed)
	wantErr(t, "sync", o.Sync(), chunk.ErrClosed)
}
