package storetest

import (
	"bytes"
	"io"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// sparse has a chunk of zeros, one with runs of zeros at both ends, one without,
// and a short last block of zeros.
func sparse(seed byte) Content {
	zeros := []int{16, 17, 18, 31, 49}
	for b := range chunk.BlocksPerChunk {
		zeros = append(zeros, b)
	}
	return NewSparse(seed, 3*chunk.Size+chunk.BlockSize+7, zeros...)
}

func testZerosUnwritten(t *testing.T, s chunk.Store) {
	c := sparse(1)
	o := c.create(t, s)
	if o.Put(1, c.Sums(1)) == nil {
		t.Error("put took blocks that are not zeros and were never written")
	}
	var want int64
	for i := range chunk.Count(c.Size()) {
		c.Fill(t, o, i)
		want += Content{Bytes: c.Chunk(i)}.Room()
		if b := s.Usage().Bytes; b != want {
			t.Errorf("%d bytes with chunk %d, want %d", b, i, want)
		}
	}
	if n := c.VerifyPresent(t, o); n != 4 || want != c.Room() {
		t.Errorf("%d chunks present, want 4", n)
	}
	got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	if err != nil || !bytes.Equal(got, c.Bytes) {
		t.Errorf("the object reads back as %d bytes (error %v), not its own", len(got), err)
	}
	_, err = o.WriteAt([]byte{1}, 0)
	wantErr(t, "write into a present chunk of zeros", err, chunk.ErrPresent)
	must(t, o.Sync())
	for i := range 4 {
		must(t, o.Drop(i))
	}
	if b := s.Usage().Bytes; b != 0 {
		t.Errorf("%d bytes after dropping all", b)
	}
	if o.Put(1, c.Sums(1)) == nil {
		t.Error("put took a dropped chunk that nobody wrote again")
	}
}

// testZerosOverJunk puts zeros where other bytes were: written zeros, bytes that
// were never put, and a chunk that was dropped.
func testZerosOverJunk(t *testing.T, s chunk.Store) {
	c, junk := sparse(1), NewContent(2, int(sparse(1).Size()))
	o := c.create(t, s)
	if _, err := o.WriteAt(c.Chunk(0), 0); err != nil {
		t.Fatal(err)
	}
	must(t, o.Put(0, c.Sums(0)))
	if b := s.Usage().Bytes; b != 0 {
		t.Errorf("written zeros count %d bytes", b)
	}
	if _, err := o.WriteAt(junk.Chunk(1), chunk.Size); err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o, 1)
	junk.Fill(t, o, 3)
	must(t, o.Drop(3))
	c.Fill(t, o, 3, 2)
	if n := c.VerifyPresent(t, o); n != 4 {
		t.Errorf("%d chunks present, want 4", n)
	}
	if b := s.Usage().Bytes; b != c.Room() {
		t.Errorf("%d bytes, want %d", b, c.Room())
	}
}
