package diskstore

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// sealedStore is a closed store with one whole, sealed, durable object.
func sealedStore(t testing.TB) (dir string, c storetest.Content) {
	t.Helper()
	dir = t.TempDir()
	s := openStore(t, dir, quiet())
	c = storetest.NewContent(1, chunk.BlockSize+10)
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o)
	if err := o.Seal(c.Sealed(t, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func TestDamagedHaveMapIsAnAbsentObject(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone":  func(path string) error { return os.Remove(path + haveSuffix) },
		"empty": func(path string) error { return os.Truncate(path+haveSuffix, 0) },
		"a directory": func(path string) error {
			return errors.Join(os.Remove(path+haveSuffix), os.Mkdir(path+haveSuffix, 0o700))
		},
		"data gone":         func(path string) error { return os.Remove(path) },
		"data too long":     func(path string) error { return os.Truncate(path, chunk.BlockSize+11) },
		"data a link":       func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/etc/hostname", path)) },
		"of another object": func(path string) error { return os.WriteFile(path+haveSuffix, encodeHeader(chunk.Digest{}, 10), 0o600) },
		"too long": func(path string) error {
			return os.Truncate(path+haveSuffix, haveSize(chunk.BlockSize+10)+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c := sealedStore(t)
			if err := damage(Path(dir, c.Digest)); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, dir, quiet())
			if _, err := s.Open(c.Digest); !errors.Is(err, chunk.ErrNotFound) {
				t.Errorf("open: error %v, want ErrNotFound", err)
			}
			if u := s.Usage(); u.Objects != 0 || u.Bytes != 0 {
				t.Errorf("usage: %+v", u)
			}
			put(t, s, 1, chunk.BlockSize+10)
			if _, err := os.Stat("/etc/hostname"); err != nil {
				t.Error("a link's target was touched")
			}
		})
	}
}

func TestFlippedBitsNeverLie(t *testing.T) {
	dir, c := sealedStore(t)
	path := Path(dir, c.Digest)
	have, err := os.ReadFile(path + haveSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for at := range have {
		bad := append([]byte(nil), have...)
		bad[at] ^= 1 << rand.IntN(8)
		if n := reopened(t, dir, c.Digest, c.Bytes, bad); n != 0 {
			t.Errorf("byte %d of the have-map flipped: %d bytes present", at, n)
		}
	}
}

func TestDamagedSealIsNoSeal(t *testing.T) {
	dir, c := sealedStore(t)
	path := Path(dir, c.Digest) + sealSuffix
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(b[:20:20], make([]byte, len(b)-20)...)} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, dir, quiet())
		o, err := s.Open(c.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := o.Sealed(); ok {
			t.Error("a damaged seal counts")
		}
		if n := c.VerifyPresent(t, o); n != 1 {
			t.Errorf("a damaged seal left %d chunks, want 1", n)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Error("a damaged seal stays on the disk")
		}
		s.Close()
	}
}

func TestSealOverrulesHaveMap(t *testing.T) {
	dir, c := sealedStore(t)
	other := storetest.NewContent(2, len(c.Bytes))
	list := other.List()
	list.Object = c.Digest
	_, seal := c.Sealed(t, 1)
	if err := writeSeal(Path(dir, c.Digest)+sealSuffix, list, seal); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, quiet())
	o, err := s.Open(c.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if n := o.Have().Count(); n != 0 {
		t.Errorf("%d chunks that are not the list's are present", n)
	}
}

func TestLeftoversAreCleaned(t *testing.T) {
	dir, c := sealedStore(t)
	fan := parentDir(Path(dir, c.Digest))
	orphan := Path(dir, chunk.Digest{c.Digest[0], 1})
	leftovers := []string{filepath.Join(fan, "seal-1"+tempSuffix), orphan, orphan + sealSuffix}
	foreign := filepath.Join(fan, "notes.txt")
	for _, name := range append(leftovers, foreign) {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, dir, quiet())
	for _, name := range leftovers {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file that is not the store's was removed: %v", err)
	}
	if !has(s, c) {
		t.Error("cleaning took an object along")
	}
}

func FuzzHaveMap(f *testing.F) {
	c := storetest.NewContent(1, chunk.Size+10)
	b := make([]byte, haveSize(c.Size()))
	copy(b, encodeHeader(c.Digest, c.Size()))
	f.Add(b)
	raw, err := c.Sums(1).AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	encoded := mark{state: durable}.encode(c.Digest, 1, raw)
	copy(b[markOffset(1):], encoded[:])
	copy(b[sumsOffset(c.Size(), 1):], raw)
	f.Add(append([]byte(nil), b...))
	f.Add(b[:headerSize])
	f.Add(encodeHeader(c.Digest, chunk.MaxObject))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHaveMap(b, c.Digest)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("error %v is not errDamaged", err)
			}
			return
		}
		claimed := claimedMarks(b, h.size)
		for i, m := range h.marks {
			present := m.state != absent
			if present != (h.sums[i] != nil) || (present && claimed[i] != m) {
				t.Errorf("chunk %d: mark %v, claimed %v, %d sums", i, m, claimed[i], len(h.sums[i]))
			}
			if present && len(h.sums[i]) != chunk.BlockCount(chunk.Length(h.size, i)) {
				t.Errorf("chunk %d has %d sums", i, len(h.sums[i]))
			}
			if n := claimed[i].bytes(h.size, i); n < 0 || n > chunk.Length(h.size, i) {
				t.Errorf("chunk %d of %d bytes is charged with %d", i, chunk.Length(h.size, i), n)
			}
		}
	})
}

func FuzzSeal(f *testing.F) {
	c := storetest.NewContent(1, chunk.Size+10)
	b, err := encodeSeal(c.Sealed(f, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		l, s, err := decodeSeal(b)
		if err != nil {
			return
		}
		if l.Validate() != nil || s.Validate() != nil {
			t.Errorf("a seal file gave %v and %v", l.Validate(), s.Validate())
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("ab"+chunk.Digest{}.Hex()[2:]+haveSuffix, byte(0xab))
	f.Add("../x", byte(0))
	f.Fuzz(func(t *testing.T, name string, first byte) {
		d, suffix, ok := parseName(name, first)
		if ok && filepath.Base(Path("", d))+suffix != name {
			t.Errorf("%q is taken for %s%s", name, d.Hex(), suffix)
		}
	})
}
