package storetest

import (
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

func (s *suite) runQuota(t *testing.T) {
	t.Run("quota evicts the least recently used", func(t *testing.T) {
		store := s.openQuota(t, 4*chunk.Size)
		t.Cleanup(func() { store.Close() })
		testEviction(t, store)
	})
	t.Run("quota full of open objects", func(t *testing.T) {
		store := s.openQuota(t, 2*chunk.Size)
		t.Cleanup(func() { store.Close() })
		testFull(t, store)
	})
	t.Run("quota and ingest", func(t *testing.T) {
		store := s.openQuota(t, 4*chunk.Size)
		t.Cleanup(func() { store.Close() })
		testIngestQuota(t, store)
	})
	t.Run("quota counts nothing twice", func(t *testing.T) {
		store := s.openQuota(t, 3*chunk.Size)
		t.Cleanup(func() { store.Close() })
		testIngestNotTwice(t, store)
	})
	t.Run("quota and pins", func(t *testing.T) {
		store := s.openQuota(t, 3*chunk.Size)
		t.Cleanup(func() { store.Close() })
		testPinQuota(t, store)
	})
}

func testEviction(t *testing.T, s chunk.Store) {
	var contents []Content
	for i := range 3 {
		c := NewContent(byte(i), chunk.Size)
		contents = append(contents, c)
		o := c.create(t, s)
		c.Fill(t, o)
		must(t, o.Close())
	}
	kept := contents[0].open(t, s)
	must(t, contents[2].open(t, s).Close())

	big := NewContent(9, 2*chunk.Size)
	o := big.create(t, s)
	big.Fill(t, o)
	if _, err := s.Open(contents[1].Digest); err == nil {
		t.Error("the least recently used object is still there")
	}
	if contents[0].VerifyPresent(t, kept) != 1 {
		t.Error("an open object was evicted")
	}
	u := s.Usage()
	if u.Bytes > u.Quota || u.Quota != 4*chunk.Size || u.Evicted < chunk.Size {
		t.Errorf("usage after eviction: %+v", u)
	}
}

func testFull(t *testing.T, s chunk.Store) {
	c := NewContent(1, 3*chunk.Size)
	o := c.create(t, s)
	c.Fill(t, o, 0, 1)
	_, err := o.WriteAt(c.Chunk(2), 2*chunk.Size)
	wantErr(t, "write over the quota", err, chunk.ErrFull)
	if n := c.VerifyPresent(t, o); n != 2 {
		t.Errorf("a full store has %d chunks, want 2", n)
	}
	if b := s.Usage().Bytes; b != 2*chunk.Size {
		t.Errorf("a full store counts %d bytes, want %d", b, 2*chunk.Size)
	}
	must(t, o.Drop(0))
	c.Fill(t, o, 2)
	if n := c.VerifyPresent(t, o); n != 2 {
		t.Errorf("%d chunks after making room, want 2", n)
	}
}
