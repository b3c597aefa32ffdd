package diskstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// ingestBytes brings c into s whole.
func ingestBytes(t testing.TB, s *Store, c storetest.Content) chunk.Object {
	t.Helper()
	in, err := s.Ingest(c.Size())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(c.Bytes); err != nil {
		t.Fatal(err)
	}
	o, err := in.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// temporaries are the temporary files in s's directory.
func temporaries(t testing.TB, dir string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*", "*/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern+tempSuffix))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	return found
}

func TestIngestLeavesNoTemporary(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	c := storetest.NewContent(1, chunk.Size+5)
	ingestBytes(t, s, c).Close()
	ingestBytes(t, s, c).Close()
	aborted, err := s.Ingest(10)
	if err != nil {
		t.Fatal(err)
	}
	if len(temporaries(t, dir)) != 1 {
		t.Errorf("temporary files of one ingest: %v", temporaries(t, dir))
	}
	if err := aborted.Abort(); err != nil {
		t.Fatal(err)
	}
	if left := temporaries(t, dir); len(left) != 0 {
		t.Errorf("temporary files after the ingests: %v", left)
	}
	left, err := s.Ingest(c.Size())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Write(c.Bytes); err != nil {
		t.Fatal(err)
	}
	crashed := openStore(t, killed(t, s), quiet())
	if names := temporaries(t, crashed.dir); len(names) != 0 || crashed.Usage().Bytes != c.Size() {
		t.Errorf("a killed ingest left %v and %d bytes", names, crashed.Usage().Bytes)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if names := temporaries(t, dir); len(names) != 0 {
		t.Errorf("closing left %v", names)
	}
}

// TestIngestKilledWhileNamed kills a store between the steps that give an
// ingest its name: there is no object, and nothing left of it.
func TestIngestKilledWhileNamed(t *testing.T) {
	c := storetest.NewContent(1, chunk.BlockSize+5)
	for name, leave := range map[string]func(path string) error{
		"content named":     func(path string) error { return os.Remove(path + haveSuffix) },
		"have-map empty":    func(path string) error { return os.Truncate(path+haveSuffix, 0) },
		"have-map by half":  func(path string) error { return os.Truncate(path+haveSuffix, headerSize+markSize+sumSize) },
		"have-map, no data": func(path string) error { return os.Remove(path) },
	} {
		dir := t.TempDir()
		s := openStore(t, dir, quiet())
		ingestBytes(t, s, c).Close()
		crashed := killed(t, s)
		if err := leave(Path(crashed, c.Digest)); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, crashed, quiet())
		if o, err := s.Open(c.Digest); err == nil {
			if n := c.VerifyPresent(t, o); n != 0 {
				t.Errorf("%s: %d chunks present", name, n)
			}
			o.Close()
		}
		if b := s.Usage().Bytes; b != 0 {
			t.Errorf("%s: %d bytes are counted", name, b)
		}
		o := ingestBytes(t, s, c)
		if n := c.VerifyPresent(t, o); n != 1 {
			t.Errorf("%s: %d chunks present after another ingest", name, n)
		}
		o.Close()
	}
}

func TestIngestBecomesDurable(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	c := storetest.NewSparse(1, 2*chunk.Size+5, 1, 15)
	o := ingestBytes(t, s, c)
	defer o.Close()
	wantMark := func(when string, want state) {
		t.Helper()
		m, err := readMarks(Path(dir, c.Digest), c.Digest)
		if err != nil || m.marks[0] != (mark{want, 1<<1 | 1<<15}) {
			t.Errorf("%s: marks %v, error %v", when, m, err)
		}
	}
	wantMark("committed", written)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	wantMark("synced", durable)
}

// diskUse is how much of the disk an object's content takes.
func diskUse(t *testing.T, dir string, d chunk.Digest) int64 {
	t.Helper()
	info, err := os.Lstat(Path(dir, d))
	if err != nil {
		t.Fatal(err)
	}
	n := allocated(info)
	if n < 0 {
		t.Skip("SKIP: the system does not tell how much of the disk a file takes")
	}
	return n
}

func TestZerosTakeNoDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	ingested := storetest.NewSparse(1, chunk.Size+2*chunk.BlockSize+5, 0, 1, 5, 15, 16, 18)
	put := storetest.NewSparse(2, len(ingested.Bytes), 0, 1, 5, 15, 16, 18)
	over := storetest.NewSparse(3, len(ingested.Bytes), 0, 1, 5, 15, 16, 18)
	ingestBytes(t, s, ingested).Close()
	for _, c := range []storetest.Content{put, over} {
		o, err := s.Create(c.Digest, c.Size())
		if err != nil {
			t.Fatal(err)
		}
		if c.Digest == over.Digest {
			if _, err := o.WriteAt(c.Bytes, 0); err != nil {
				t.Fatal(err)
			}
		}
		c.Fill(t, o)
		if err := o.Sync(); err != nil {
			t.Fatal(err)
		}
		o.Close()
	}
	for reopened := range 2 {
		for _, c := range []storetest.Content{ingested, put, over} {
			if n := diskUse(t, dir, c.Digest); n > c.Room()+straySlack(c.Room()) {
				t.Errorf("life %d: %d bytes without zeros take %d of the disk", reopened, c.Room(), n)
			}
		}
		if b := s.Usage().Bytes; b != 3*put.Room() {
			t.Errorf("life %d: %d bytes, want %d", reopened, b, 3*put.Room())
		}
		if err := s.Close(); err != nil && !errors.Is(err, chunk.ErrClosed) {
			t.Fatal(err)
		}
		s = openStore(t, dir, quiet())
	}
	for _, c := range []storetest.Content{ingested, put, over} {
		o, err := s.Open(c.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.VerifyPresent(t, o); n != 2 {
			t.Errorf("%d chunks after a restart, want 2", n)
		}
		o.Close()
		if err := s.Remove(c.Digest); err != nil {
			t.Fatal(err)
		}
	}
	if b := s.Usage().Bytes; b != 0 {
		t.Errorf("%d bytes in an empty store", b)
	}
}

// TestWriteZeros is what a file system without holes gets.
func TestWriteZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := storetest.NewContent(1, 2*chunk.BlockSize+9)
	if _, err := f.Write(c.Bytes); err != nil {
		t.Fatal(err)
	}
	if err := writeZeros(f, 3, 2*chunk.BlockSize); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || len(got) != len(c.Bytes) || !chunk.IsZero(got[3:2*chunk.BlockSize+3]) {
		t.Errorf("%d bytes, error %v, not zeros where they should be", len(got), err)
	}
	if string(got[:3]) != string(c.Bytes[:3]) || string(got[len(got)-6:]) != string(c.Bytes[len(got)-6:]) {
		t.Error("bytes around the zeros were touched")
	}
}
