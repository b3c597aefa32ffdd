package diskstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// moment is what the kernel held of one object at a time, and which of it the
// disk had been made to take by then.
type moment struct {
	data, have           []byte
	dataSynced, haveSync bool
}

// history runs a store's steps on one object and keeps a moment after each.
type history struct {
	t       *testing.T
	path    string
	moments []moment
}

func (h *history) note(dataSynced, haveSynced bool) {
	h.t.Helper()
	data, err := os.ReadFile(h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	have, err := os.ReadFile(h.path + haveSuffix)
	if err != nil {
		h.t.Fatal(err)
	}
	h.moments = append(h.moments, moment{data, have, dataSynced, haveSynced})
}

// crash gives what a disk may hold after a power failure at moment at: of each
// piece, any state since it was last synced.
func (h *history) crash(at int) (data, have []byte) {
	dataFrom, haveFrom := 0, 0
	for i := range at + 1 {
		if h.moments[i].dataSynced {
			dataFrom = i
		}
		if h.moments[i].haveSync {
			haveFrom = i
		}
	}
	version := func(from int) *moment { return &h.moments[from+rand.IntN(at+1-from)] }
	data = mix(h.moments[at].data, 4096, func() []byte { return version(dataFrom).data })
	have = mix(h.moments[at].have, markSize, func() []byte { return version(haveFrom).have })
	return data, have
}

// mix makes bytes of the shape of p, each piece from one of the versions.
func mix(p []byte, piece int, version func() []byte) []byte {
	out := bytes.Clone(p)
	for at := 0; at < len(out); at += piece {
		end := min(at+piece, len(out))
		copy(out[at:end], version()[at:end])
	}
	return out
}

// TestPowerLoss runs an object through puts, a sync, and a drop that makes room
// for other bytes, zeros among them, and loses power at every step with whatever had not been
// synced written by half: no chunk may be present that is not its sums' bytes.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	first, second := storetest.NewContent(1, chunk.Size+chunk.BlockSize+100), storetest.NewSparse(2, chunk.Size+chunk.BlockSize+100, 16)
	d := first.Digest
	o, err := s.Create(d, first.Size())
	if err != nil {
		t.Fatal(err)
	}
	h := &history{t: t, path: Path(dir, d)}
	obj := o.(*handle).object
	// Chunk 0 stays absent, so that a sync does not flush the have-map too.
	h.note(true, true)
	first.Fill(t, o, 1)
	h.note(false, false)
	if err := syncData(o.(*handle).files.data); err != nil {
		t.Fatal(err)
	}
	h.note(true, false)
	if err := obj.sync(false); err != nil {
		t.Fatal(err)
	}
	h.note(true, false)
	if err := o.Drop(1); err != nil {
		t.Fatal(err)
	}
	h.note(false, true)
	second.Fill(t, o, 1)
	h.note(false, false)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	h.note(true, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	present := 0
	for range 15 {
		for at := range h.moments {
			data, have := h.crash(at)
			present += reopened(t, dir, d, data, have)
		}
	}
	if present == 0 {
		t.Error("no chunk ever survived: the test shows nothing")
	}
	if n := reopened(t, dir, d, h.moments[len(h.moments)-1].data, h.moments[len(h.moments)-1].have); n == 0 {
		t.Error("a synced chunk was lost")
	}
}

// reopened puts these files in place of d's, opens the store and returns the
// bytes of its present chunks, all checked.
func reopened(t *testing.T, dir string, d chunk.Digest, data, have []byte) int {
	t.Helper()
	path := Path(dir, d)
	for name, b := range map[string][]byte{path: data, path + haveSuffix: have} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, dir, quiet())
	defer s.Close()
	var n int64
	for _, info := range s.Objects() {
		o, err := s.Open(info.Digest)
		if errors.Is(err, chunk.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n += presentBytes(t, s, info)
		o.Close()
	}
	if got := s.Usage().Bytes; got != n {
		t.Errorf("the store counts %d bytes, its chunks have %d", got, n)
	}
	return int(n)
}

// TestHaveMapCutAnywhere loses the end of a have-map at every byte, with all
// data there and with none.
func TestHaveMapCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	c := storetest.NewContent(1, chunk.BlockSize+100)
	s := openStore(t, dir, quiet())
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o)
	kernelHave, err := os.ReadFile(Path(dir, c.Digest) + haveSuffix)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	diskHave, err := os.ReadFile(Path(dir, c.Digest) + haveSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(diskHave) + 1 {
		got := reopened(t, dir, c.Digest, c.Bytes, diskHave[:n])
		if want := len(diskHave) == n; (got != 0) != want {
			t.Errorf("cut to %d of %d bytes: %d bytes present", n, len(diskHave), got)
		}
		// What was only written may have lost all its data, or its length.
		if got := reopened(t, dir, c.Digest, make([]byte, len(c.Bytes)), kernelHave[:n]); got != 0 {
			t.Errorf("cut to %d bytes, data lost: %d bytes present", n, got)
		}
		if got := reopened(t, dir, c.Digest, c.Bytes[:n], diskHave); got != 0 {
			t.Errorf("data cut to %d bytes: %d bytes present", n, got)
		}
	}
	if got := reopened(t, dir, c.Digest, c.Bytes, kernelHave); got != len(c.Bytes) {
		t.Errorf("written, not synced, not lost: %d bytes present", got)
	}
}

// TestDiskRefusesBytes: when the disk cannot take what the kernel had, nothing
// that is not durable is trusted any more.
func TestDiskRefusesBytes(t *testing.T) {
	s := openStore(t, t.TempDir(), quiet())
	c := storetest.NewContent(1, 3*chunk.Size)
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	c.Fill(t, o, 0)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o, 1)
	c.Write(t, o, 2)
	h := o.(*handle)
	if err := h.object.distrust(h.files, errors.New("input/output error")); err == nil {
		t.Error("the failure was not reported")
	}
	if n := c.VerifyPresent(t, o); n != 1 || !o.Have().Has(0) {
		t.Errorf("%d chunks are trusted, want the durable one", n)
	}
	if o.Put(2, c.Sums(2)) == nil {
		t.Error("put took bytes that the disk may have refused")
	}
	if b := s.Usage().Bytes; b != chunk.Size {
		t.Errorf("%d bytes counted, want %d", b, chunk.Size)
	}
	c.Fill(t, o, 1, 2)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
}
