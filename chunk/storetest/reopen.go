package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

func (s *suite) runReopen(t *testing.T) {
	for name, crash := range map[string]bool{"after close": false, "after a kill": true} {
		t.Run("reopen "+name, func(t *testing.T) { s.testReopen(t, crash) })
	}
}

// testReopen fills one object by part and one whole, seals the latter, leaves
// bytes that were never put, and looks at it all from a second life.
func (s *suite) testReopen(t *testing.T, crash bool) {
	store := s.open(t)
	part, whole := NewContent(1, 3*chunk.Size+5), NewContent(2, chunk.Size+chunk.BlockSize+1)
	empty, ingested := NewContent(3, 0), NewSparse(4, 2*chunk.Size+9, 0, 5, 32)
	o := part.create(t, store)
	part.Fill(t, o, 3, 1)
	part.Write(t, o, 0)
	sealed := whole.create(t, store)
	whole.Fill(t, sealed)
	list, seal := whole.Sealed(t, 1)
	must(t, sealed.Seal(list, seal))
	must(t, sealed.Drop(1))
	must(t, empty.create(t, store).Close())
	ingested.ingest(t, store)
	must(t, store.Pin("a", []chunk.Digest{ingested.Digest, {7}}))
	must(t, store.Pin("gone", []chunk.Digest{{8}}))
	must(t, store.Unpin("gone"))
	if !crash {
		must(t, store.Close())
	}

	store = s.reopen(t, store)
	t.Cleanup(func() { store.Close() })
	want := chunk.Length(part.Size(), 3) + 2*chunk.Size + ingested.Room()
	if u := store.Usage(); u.Bytes != want || u.Objects != 4 {
		t.Errorf("reopened: %d bytes in %d objects, want %d in 4", u.Bytes, u.Objects, want)
	}
	o = part.open(t, store)
	if n := part.VerifyPresent(t, o); n != 2 || !o.Have().Has(1) || !o.Have().Has(3) {
		t.Errorf("reopened: %d chunks of the partial object, want 1 and 3", n)
	}
	part.Fill(t, o, 0, 2)
	if n := part.VerifyPresent(t, o); n != 4 {
		t.Errorf("reopened: %d chunks after filling the gaps, want 4", n)
	}
	again := whole.open(t, store)
	if n := whole.VerifyPresent(t, again); n != 1 {
		t.Errorf("reopened: %d chunks of the sealed object, want 1", n)
	}
	gotList, gotSeal, ok := again.Sealed()
	if !ok || cmp.Diff(list, gotList) != "" || cmp.Diff(seal, gotSeal) != "" {
		t.Errorf("reopened: the seal is gone (%v)", ok)
	}
	if n := ingested.VerifyPresent(t, ingested.open(t, store)); n != 3 {
		t.Errorf("reopened: %d chunks of what was ingested, want 3", n)
	}
	want += chunk.Length(part.Size(), 0) + chunk.Length(part.Size(), 2)
	if u := store.Usage(); u.Bytes != want {
		t.Errorf("reopened and filled: %d bytes, want %d", u.Bytes, want)
	}
	if diff := cmp.Diff(map[string][]chunk.Digest{"a": {ingested.Digest, {7}}}, store.Pins()); diff != "" {
		t.Errorf("reopened: pins (-want +got):\n%s", diff)
	}
	if !empty.open(t, store).Have().Full() {
		t.Error("reopened: the empty object misses chunks")
	}
}
