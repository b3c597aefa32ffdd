package storetest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

func testPin(t *testing.T, s chunk.Store) {
	c, later := NewContent(1, 1000), NewContent(2, 1000)
	must(t, c.ingest(t, s).Close())
	objects := []chunk.Digest{c.Digest, later.Digest, c.Digest}
	must(t, s.Pin("a", objects))
	must(t, s.Pin("a-._9", []chunk.Digest{c.Digest}))
	must(t, s.Pin("..", nil))
	objects[0] = chunk.Digest{}
	must(t, later.ingest(t, s).Close())
	wantErr(t, "remove what is pinned", s.Remove(c.Digest), chunk.ErrInUse)
	wantErr(t, "remove what was pinned before it came", s.Remove(later.Digest), chunk.ErrInUse)
	want := map[string][]chunk.Digest{
		"a": {c.Digest, later.Digest, c.Digest}, "a-._9": {c.Digest}, "..": {},
	}
	got := s.Pins()
	if diff := cmp.Diff(want, got, cmp.Transformer("empty", func(d []chunk.Digest) string {
		var text strings.Builder
		for i := range d {
			text.WriteString(d[i].Hex())
		}
		return text.String()
	})); diff != "" {
		t.Errorf("pins (-want +got):\n%s", diff)
	}
	got["a"][0] = chunk.Digest{}
	delete(got, "..")
	if again := s.Pins(); len(again) != 3 || again["a"][0] != c.Digest {
		t.Error("Pins gave the pins themselves, not a copy")
	}
	testUnpin(t, s, c, later)
}

// testUnpin takes the pins of testPin away again.
func testUnpin(t *testing.T, s chunk.Store, c, later Content) {
	must(t, s.Pin("a", []chunk.Digest{c.Digest}))
	must(t, s.Remove(later.Digest))
	must(t, s.Unpin("a"))
	wantErr(t, "remove what another pin names", s.Remove(c.Digest), chunk.ErrInUse)
	must(t, s.Unpin("a-._9"))
	must(t, s.Unpin("nobody"))
	must(t, s.Unpin("../nobody"))
	must(t, s.Remove(c.Digest))
	if pins := s.Pins(); len(pins) != 1 {
		t.Errorf("%d pins are left, want 1", len(pins))
	}
}

func testPinRefused(t *testing.T, s chunk.Store) {
	for _, name := range []string{"", "A", "a/b", "../a", "a\x00", "a b", "ä", strings.Repeat("a", 129)} {
		wantErr(t, "pin "+name, s.Pin(name, nil), chunk.ErrPin)
	}
	wantErr(t, "too large a pin", s.Pin("a", make([]chunk.Digest, chunk.MaxPinned+1)), chunk.ErrPin)
	must(t, s.Pin(strings.Repeat("a", 128), nil))
	if n := len(s.Pins()); n != 1 {
		t.Errorf("%d pins, want 1", n)
	}
}

// testPinQuota fills a store of three chunks around a pinned one.
func testPinQuota(t *testing.T, s chunk.Store) {
	pinned := NewContent(1, 2*chunk.Size)
	must(t, s.Pin("a", []chunk.Digest{pinned.Digest}))
	must(t, pinned.ingest(t, s).Close())
	for seed := range byte(3) {
		must(t, NewContent(2+seed, chunk.Size).ingest(t, s).Close())
	}
	o := pinned.open(t, s)
	pinned.wantWhole(t, o)
	must(t, o.Close())
	big := NewContent(9, chunk.Size+1)
	_, err := big.begin(t, s, 0, 1).Write(big.Bytes)
	wantErr(t, "ingest of more than pins leave", err, chunk.ErrFull)
}
