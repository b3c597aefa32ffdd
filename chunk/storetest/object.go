package storetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

// used is the last use of an object that the store lists.
func used(s chunk.Store, d chunk.Digest) time.Time {
	for _, info := range s.Objects() {
		if info.Digest == d {
			return info.Used
		}
	}
	return time.Time{}
}

func testWritePutRead(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size+chunk.BlockSize+7)
	o := c.create(t, s)
	c.Write(t, o, 2)
	if o.Have().Count() != 0 || o.Sums(2) != nil {
		t.Error("a chunk that was written but not put is present")
	}
	for _, i := range []int{2, 0, 1} {
		c.Fill(t, o, i)
		must(t, o.Put(i, c.Sums(i)))
	}
	if n := c.VerifyPresent(t, o); n != 3 {
		t.Errorf("%d chunks present, want 3", n)
	}
	got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	if err != nil || !bytes.Equal(got, c.Bytes) {
		t.Errorf("the object reads back as %d bytes (error %v), not its own", len(got), err)
	}
	have := o.Have()
	have.Clear(0)
	if !o.Have().Has(0) {
		t.Error("Have gave the map itself, not a copy")
	}
	must(t, o.Sync())
}

func testPutRefused(t *testing.T, s chunk.Store) {
	c := NewContent(1, chunk.Size+2*chunk.BlockSize)
	o := c.create(t, s)
	if o.Put(0, c.Sums(0)) == nil {
		t.Error("put took a chunk that was never written")
	}
	if _, err := o.WriteAt(c.Chunk(1)[:chunk.BlockSize], chunk.Size); err != nil {
		t.Fatal(err)
	}
	if o.Put(1, c.Sums(1)) == nil {
		t.Error("put took a chunk that was written by half")
	}
	c.Write(t, o, 1)
	for _, sums := range []chunk.Sums{nil, c.Sums(1)[:1], c.Sums(0)} {
		if o.Put(1, sums) == nil {
			t.Errorf("put took %d sums for 2 blocks", len(sums))
		}
	}
	for _, i := range []int{-1, 2, 1 << 40} {
		if o.Put(i, c.Sums(1)) == nil || o.Drop(i) == nil || o.Sums(i) != nil {
			t.Errorf("put, drop or sums took chunk %d of 2", i)
		}
	}
	if o.Have().Count() != 0 {
		t.Error("a refused put left a chunk")
	}
}

func testWritePresent(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o := c.create(t, s)
	c.Fill(t, o, 1)
	junk := make([]byte, 2*chunk.BlockSize)
	for _, off := range []int64{chunk.Size, 2*chunk.Size - int64(len(junk)), chunk.Size - chunk.BlockSize} {
		_, err := o.WriteAt(junk, off)
		wantErr(t, "write into a present chunk", err, chunk.ErrPresent)
	}
	if n := c.VerifyPresent(t, o); n != 1 {
		t.Errorf("%d chunks present, want 1", n)
	}
}

func testWriteRange(t *testing.T, s chunk.Store) {
	c := NewContent(1, 1000)
	o := c.create(t, s)
	for _, off := range []int64{-1, 991, 1000, 1001, 1<<63 - 5} {
		if n, err := o.WriteAt(make([]byte, 10), off); err == nil || n != 0 {
			t.Errorf("write of 10 bytes at %d of 1000 took %d, error %v", off, n, err)
		}
	}
	if n, err := o.WriteAt(nil, 1000); n != 0 || err != nil {
		t.Errorf("write of nothing: %d, %v", n, err)
	}
	if b := s.Usage().Bytes; b != 0 {
		t.Errorf("refused writes count %d bytes", b)
	}
}

func testReadAbsent(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size+10)
	o := c.create(t, s)
	buf := bytes.Repeat([]byte{0xff}, 100)
	n, err := o.ReadAt(buf, chunk.Size-50)
	if n != 100 || err != nil || !bytes.Equal(buf, make([]byte, 100)) {
		t.Errorf("what was never written reads as %d bytes %x, error %v", n, buf, err)
	}
	c.Write(t, o, 0)
	n, err = o.ReadAt(buf, 5)
	if n != 100 || err != nil || !bytes.Equal(buf, c.Bytes[5:105]) {
		t.Errorf("what was written does not read back before put: %d, %v", n, err)
	}
	for off, want := range map[int64]int{c.Size() - 4: 4, c.Size(): 0, c.Size() + 1<<40: 0} {
		if n, err := o.ReadAt(buf, off); n != want || err != io.EOF {
			t.Errorf("read at %d of %d: %d bytes, error %v", off, c.Size(), n, err)
		}
	}
	if _, err := o.ReadAt(buf, -1); err == nil || err == io.EOF {
		t.Errorf("read at -1: error %v", err)
	}
}

func testSharedState(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	a, b := c.create(t, s), c.open(t, s)
	c.Write(t, a, 1)
	must(t, b.Put(1, c.Sums(1)))
	must(t, a.Seal(c.Sealed(t, 1)))
	if !a.Have().Has(1) {
		t.Error("what one handle put, the other does not have")
	}
	if _, _, ok := b.Sealed(); !ok {
		t.Error("what one handle sealed, the other does not know")
	}
	must(t, a.Close())
	if n := c.VerifyPresent(t, b); n != 1 {
		t.Errorf("closing one handle left the other %d chunks, want 1", n)
	}
}

func testDrop(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o := c.create(t, s)
	c.Fill(t, o)
	must(t, o.Sync())
	must(t, o.Drop(0))
	must(t, o.Drop(0))
	if o.Have().Has(0) || o.Sums(0) != nil || !o.Have().Has(1) {
		t.Error("drop of chunk 0 did not forget exactly it")
	}
	if o.Put(0, c.Sums(0)) == nil {
		t.Error("put took a dropped chunk that nobody wrote again")
	}
	c.Fill(t, o, 0)
	if n := c.VerifyPresent(t, o); n != 2 {
		t.Errorf("%d chunks after writing again, want 2", n)
	}
}

func testUnputForgotten(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o, other := c.create(t, s), c.create(t, s)
	c.Fill(t, o, 0)
	c.Write(t, o, 1)
	must(t, o.Close())
	if b := s.Usage().Bytes; b != c.Size() {
		t.Errorf("%d bytes while a handle is open, want %d", b, c.Size())
	}
	must(t, other.Close())
	if b := s.Usage().Bytes; b != chunk.Size {
		t.Errorf("%d bytes after the last close, want %d", b, chunk.Size)
	}
	o = c.open(t, s)
	if o.Put(1, c.Sums(1)) == nil {
		t.Error("put took what was written under handles long closed")
	}
	if n := c.VerifyPresent(t, o); n != 1 {
		t.Errorf("%d chunks present, want 1", n)
	}
}

func testFile(t *testing.T, s chunk.Store) {
	c := NewContent(1, chunk.Size+5)
	o := c.create(t, s)
	c.Fill(t, o)
	a, err := o.File()
	must(t, err)
	if a == nil {
		t.Skip("this store has no files")
	}
	b, err := o.File()
	must(t, err)
	for _, f := range []*os.File{a, b} {
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, c.Bytes) {
			t.Errorf("the file reads as %d bytes, error %v", len(got), err)
		}
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("the file can be written")
		}
		must(t, f.Close())
	}
}

func testEmptyObject(t *testing.T, s chunk.Store) {
	c := NewContent(1, 0)
	o := c.create(t, s)
	if o.Size() != 0 || !o.Have().Full() {
		t.Errorf("an empty object has %d bytes and misses chunks", o.Size())
	}
	if _, err := o.ReadAt(make([]byte, 1), 0); err != io.EOF {
		t.Errorf("read: error %v, want EOF", err)
	}
	must(t, o.Seal(c.Sealed(t, 1)))
	must(t, o.Sync())
	must(t, o.Close())
	if infos := s.Objects(); len(infos) != 1 || !infos[0].Complete() || !infos[0].Sealed {
		t.Errorf("listing: %+v", infos)
	}
}

func testSeal(t *testing.T, s chunk.Store) {
	c := NewContent(1, 2*chunk.Size)
	o := c.create(t, s)
	if _, _, ok := o.Sealed(); ok {
		t.Error("a new object is sealed")
	}
	c.Fill(t, o, 0)
	for _, signer := range []byte{1, 2} {
		list, seal := c.Sealed(t, signer)
		must(t, o.Seal(list, seal))
		gotList, gotSeal, ok := o.Sealed()
		if !ok || cmp.Diff(list, gotList) != "" || cmp.Diff(seal, gotSeal) != "" {
			t.Errorf("the seal of signer %d does not come back (%v)", signer, ok)
		}
	}
	if n := c.VerifyPresent(t, o); n != 1 {
		t.Errorf("sealing left %d chunks, want 1", n)
	}
	c.Write(t, o, 1)
	wantErr(t, "put against the seal", o.Put(1, c.Sums(0)), chunk.ErrCorrupt)
	must(t, o.Put(1, c.Sums(1)))
}

func testSealRefused(t *testing.T, s chunk.Store) {
	c, other := NewContent(1, 1000), NewContent(2, 1000)
	o := c.create(t, s)
	list, seal := other.Sealed(t, 1)
	wantErr(t, "another object's list", o.Seal(list, seal), chunk.ErrList)
	list, seal = c.Sealed(t, 1)
	short := *list
	short.Chunks = nil
	wantErr(t, "a malformed list", o.Seal(&short, seal), chunk.ErrList)
	wantErr(t, "a malformed seal", o.Seal(list, chunk.Seal{}), chunk.ErrSeal)
	if _, _, ok := o.Sealed(); ok {
		t.Error("a refused seal was recorded")
	}
}

func testSealDrops(t *testing.T, s chunk.Store) {
	c, wrong := NewContent(1, 3*chunk.Size), NewContent(2, 3*chunk.Size)
	o := c.create(t, s)
	c.Fill(t, o, 0, 2)
	wrong.Fill(t, o, 1)
	must(t, o.Seal(c.Sealed(t, 1)))
	if n := c.VerifyPresent(t, o); n != 2 || o.Have().Has(1) {
		t.Errorf("%d chunks after sealing, want 2 without the wrong one", n)
	}
	if b := s.Usage().Bytes; b != 2*chunk.Size {
		t.Errorf("%d bytes after sealing, want %d", b, 2*chunk.Size)
	}
}

func testConcurrent(t *testing.T, s chunk.Store) {
	c := NewContent(1, 4*chunk.Size+99)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			o, err := s.Create(c.Digest, c.Size())
			if err != nil {
				t.Error(err)
				return
			}
			defer o.Close()
			for n := range 5 {
				putRacing(t, c, o, (n+worker)%5)
			}
		})
	}
	wg.Wait()
	if n := c.VerifyPresent(t, c.open(t, s)); n != 5 {
		t.Errorf("%d chunks, want 5", n)
	}
	if b := s.Usage().Bytes; b != c.Size() {
		t.Errorf("%d bytes, want %d", b, c.Size())
	}
}

// putRacing writes and puts chunk i while others do the same.
func putRacing(t *testing.T, c Content, o chunk.Object, i int) {
	_, err := o.WriteAt(c.Chunk(i), int64(i)*chunk.Size)
	if errors.Is(err, chunk.ErrPresent) {
		return
	}
	if err == nil {
		err = o.Put(i, c.Sums(i))
	}
	if err != nil {
		t.Errorf("chunk %d: %v", i, err)
	}
	if !o.Have().Has(i) || o.Sums(i) == nil {
		t.Errorf("chunk %d is not there after put", i)
	}
}
