package diskstore

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// TestDamagedPinStillPins damages a pin's file in every way and restarts: what
// can be read of it is pinned, an error is logged, and the owner can have the
// name back.
func TestDamagedPinStillPins(t *testing.T) {
	kept := storetest.NewContent(1, 1000)
	objects := []chunk.Digest{{1}, kept.Digest, {2}}
	good := encodePin(objects)
	flipped := bytes.Clone(good)
	flipped[pinHeader+5] ^= 1
	for name, bad := range map[string][]byte{
		"a bit flipped": flipped,
		"its end lost":  good[:pinHeader+2*digestSize],
		"its head lost": append(make([]byte, pinHeader), good[pinHeader:]...),
		"too long":      append(bytes.Clone(good), make([]byte, 100)...),
		"another count": append(append(append([]byte{}, good[:15]...), 9), good[16:]...),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, quiet())
			ingestBytes(t, s, kept).Close()
			if err := s.Pin("image", objects); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if err := os.WriteFile(filepath.Join(dir, pinsName, "image"+pinSuffix), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				var log bytes.Buffer
				s, err := Open(dir, quiet(), slog.New(slog.NewTextHandler(&log, nil)), nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Remove(kept.Digest); !errors.Is(err, chunk.ErrInUse) {
					t.Errorf("remove: error %v, want ErrInUse", err)
				}
				s.Close()
				if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "pin=image") {
					t.Errorf("the log does not tell: %s", &log)
				}
			}
			s = openStore(t, dir, quiet())
			if err := errors.Join(s.Unpin("image"), s.Remove(kept.Digest)); err != nil {
				t.Errorf("the name does not come back: %v", err)
			}
		})
	}
}

// TestPinDirectoryHostile puts what is no pin where pins are.
func TestPinDirectoryHostile(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	if err := s.Pin("good", []chunk.Digest{{1}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	pins := filepath.Join(dir, pinsName)
	temp := filepath.Join(pins, "pin-1"+tempSuffix)
	for _, err := range []error{
		os.Symlink("/etc/hostname", filepath.Join(pins, "link"+pinSuffix)),
		os.Mkdir(filepath.Join(pins, "dir"+pinSuffix), 0o700),
		mkfifo(filepath.Join(pins, "fifo"+pinSuffix)),
		os.WriteFile(filepath.Join(pins, "empty"+pinSuffix), nil, 0o600),
		os.WriteFile(filepath.Join(pins, "Not A Name"+pinSuffix), encodePin(nil), 0o600),
		os.WriteFile(temp, []byte("x"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, dir, quiet())
	got := s.Pins()
	if len(got) != 5 || len(got["good"]) != 1 || len(got["link"])+len(got["dir"])+len(got["fifo"])+len(got["empty"]) != 0 {
		t.Errorf("pins: %v", got)
	}
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Error("a pin that was being written is still there")
	}
}

func TestTooManyPins(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, pinsName), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range chunk.MaxPins + 1 {
		if err := os.WriteFile(filepath.Join(dir, pinsName, strconv.Itoa(10000+i)+pinSuffix), encodePin(nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, dir, quiet())
	if n := len(s.Pins()); n != chunk.MaxPins {
		t.Errorf("%d pins, want %d", n, chunk.MaxPins)
	}
	if err := s.Pin("another", nil); !errors.Is(err, chunk.ErrPin) {
		t.Errorf("one pin too many: error %v, want ErrPin", err)
	}
	if err := s.Pin("10000", []chunk.Digest{{1}}); err != nil {
		t.Errorf("another pin in place of one: %v", err)
	}
}

// TestPinNotWritten: a pin that could not be written changes nothing.
func TestPinNotWritten(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	if err := os.WriteFile(filepath.Join(dir, pinsName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := put(t, s, 1, 1000)
	if err := s.Pin("a", []chunk.Digest{c.Digest}); err == nil {
		t.Error("a pin without a file was not refused")
	}
	if len(s.Pins()) != 0 || len(s.pinned.count) != 0 {
		t.Errorf("it left %v", s.Pins())
	}
	if err := s.Remove(c.Digest); err != nil {
		t.Error(err)
	}
}

func FuzzPin(f *testing.F) {
	good := encodePin([]chunk.Digest{{1}, {2}})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[:pinHeader])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		objects, err := decodePin(b)
		if err == nil && !bytes.Equal(encodePin(objects), b) && !slices.Equal(b[9:12], []byte{0, 0, 0}) {
			t.Errorf("%x is not what it says", b)
		}
		if len(objects)*digestSize > len(b) {
			t.Errorf("%d bytes gave %d objects", len(b), len(objects))
		}
	})
}

// TestPinKeepsWhatWasNotPut writes a block of a chunk, and lets go of the object:
// while it is pinned its readers find the block in the file, after a restart too.
func TestPinKeepsWhatWasNotPut(t *testing.T) {
	c := storetest.NewContent(1, chunk.Size+1000)
	for _, pinned := range []bool{true, false} {
		dir := t.TempDir()
		s := openStore(t, dir, quiet())
		if pinned {
			if err := s.Pin("image", []chunk.Digest{c.Digest}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(when string) {
			t.Helper()
			got := make([]byte, chunk.BlockSize)
			readFileAt(t, Path(dir, c.Digest), got)
			if kept := bytes.Equal(got, c.Bytes[:chunk.BlockSize]); kept != pinned {
				t.Errorf("pinned %v, %s: the block is kept: %v", pinned, when, kept)
			}
		}
		o, err := s.Create(c.Digest, int64(len(c.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteAt(c.Bytes[:chunk.BlockSize], 0); err != nil {
			t.Fatal(err)
		}
		o.Close()
		check("closed")
		if o, err = s.Open(c.Digest); err != nil { // the block is charged still
			t.Fatal(err)
		}
		if used := s.Usage().Bytes; (used == chunk.BlockSize) != pinned {
			t.Errorf("pinned %v: %d bytes are charged for a block that was not put", pinned, used)
		}
		o.Close()
		s.Close()
		s = openStore(t, dir, quiet())
		check("after a restart")
		if o, err = s.Open(c.Digest); err != nil {
			t.Fatal(err)
		}
		if o.Have().Count() != 0 {
			t.Error("a chunk counts that was never put")
		}
		if _, err := o.WriteAt(c.Bytes[:chunk.Size], 0); err != nil {
			t.Error(err)
		}
		if err := o.Put(0, c.Sums(0)); err != nil {
			t.Error(err)
		}
		if used := s.Usage().Bytes; used != chunk.Size {
			t.Errorf("pinned %v: %d bytes are charged, want %d", pinned, used, chunk.Size)
		}
		o.Close()
		s.Close()
	}
}

func readFileAt(t *testing.T, path string, p []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
}
