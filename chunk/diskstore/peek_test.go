package diskstore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func peek(t *testing.T, dir string, d chunk.Digest) *Peeked {
	t.Helper()
	p, err := Peek(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// checkPeeked reads every chunk that p has and returns how many there are. A
// chunk may be dropped meanwhile, but has no wrong sums.
func checkPeeked(t *testing.T, p *Peeked, c storetest.Content) int {
	t.Helper()
	have := p.Have()
	for i := have.NextSet(0); i < have.Len(); i = have.NextSet(i + 1) {
		got := make([]byte, chunk.Length(p.Size(), i))
		if _, err := p.File().ReadAt(got, int64(i)*chunk.Size); err != nil {
			t.Errorf("read chunk %d: %v", i, err)
		}
		if !bytes.Equal(got, c.Chunk(i)) {
			t.Errorf("chunk %d is present and reads wrong", i)
		}
		if sums := p.Sums(i); sums.Digest() != c.Sums(i).Digest() {
			t.Errorf("chunk %d has %d sums, and wrong ones", i, len(sums))
		}
	}
	return have.Count()
}

func wantPeeked(t *testing.T, p *Peeked, c storetest.Content, chunks int) {
	t.Helper()
	if n := checkPeeked(t, p, c); n != chunks {
		t.Errorf("%d chunks are seen, want %d", n, chunks)
	}
}

func TestPeek(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	c := storetest.NewSparse(1, 3*chunk.Size+9, 2, 40)
	if _, err := Peek(dir, c.Digest); !errors.Is(err, chunk.ErrNotFound) {
		t.Errorf("peek at nothing: error %v, want ErrNotFound", err)
	}
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	p := peek(t, dir, c.Digest)
	if p.Size() != c.Size() || p.Have().Len() != 4 || p.Sums(0) != nil || p.Sums(-1) != nil || p.Sums(4) != nil {
		t.Errorf("a view of nothing: %d bytes, %d chunks", p.Size(), p.Have().Len())
	}
	s.noteBoot()
	c.Fill(t, o, 0, 3)
	wantPeeked(t, p, c, 2)
	c.Fill(t, o, 2)
	wantPeeked(t, p, c, 3)
	if err := o.Drop(3); err != nil {
		t.Fatal(err)
	}
	wantPeeked(t, p, c, 2)
	if _, _, sealed := p.Sealed(); sealed {
		t.Error("a seal is seen that nobody made")
	}
	for _, signer := range []byte{1, 2} {
		list, seal := c.Sealed(t, signer)
		if err := o.Seal(list, seal); err != nil {
			t.Fatal(err)
		}
		gotList, gotSeal, ok := p.Sealed()
		if !ok || cmp.Diff(list, gotList) != "" || cmp.Diff(seal, gotSeal) != "" {
			t.Errorf("the seal of signer %d is not seen (%v)", signer, ok)
		}
	}
	c.Fill(t, o, 1, 3)
	wantPeeked(t, p, c, 4)
	whole, err := io.ReadAll(io.NewSectionReader(p.File(), 0, p.Size()))
	if err != nil || !bytes.Equal(whole, c.Bytes) || p.Removed() {
		t.Errorf("the whole reads as %d bytes, error %v, removed %v", len(whole), err, p.Removed())
	}
	testPeekAfterRemoval(t, s, c, o, p)
}

// testPeekAfterRemoval removes the object and makes it anew by half: the old
// view keeps what it saw, and a new one sees the new.
func testPeekAfterRemoval(t *testing.T, s *Store, c storetest.Content, o chunk.Object, p *Peeked) {
	o.Close()
	if err := s.Remove(c.Digest); err != nil {
		t.Fatal(err)
	}
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	c.Fill(t, o, 1)
	wantPeeked(t, p, c, 4)
	if !p.Removed() {
		t.Error("the old view does not know that its object is gone")
	}
	wantPeeked(t, peek(t, s.dir, c.Digest), c, 1)
}

// TestPeekDistrustsAnotherBoot: what was only written may have been lost with
// the kernel that had it, until the store's owner has checked it.
func TestPeekDistrustsAnotherBoot(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	settleStart(s)
	c := storetest.NewContent(1, 2*chunk.Size)
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o, 0)
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o, 1)
	p := peek(t, dir, c.Digest)
	boot := filepath.Join(dir, bootName)
	for _, other := range [][]byte{nil, []byte("another\n"), bytes.Repeat([]byte("x"), 1<<20)} {
		if err := os.WriteFile(boot, other, 0o600); err != nil {
			t.Fatal(err)
		}
		wantPeeked(t, p, c, 1)
		if p.Sums(1) != nil {
			t.Error("sums of a chunk that may be lost")
		}
	}
	if err := s.forgetBoot(); err != nil {
		t.Fatal(err)
	}
	wantPeeked(t, p, c, 1)
	s.noteBoot()
	wantPeeked(t, p, c, 2)

	again := openStore(t, killed(t, s), quiet())
	settleStart(again)
	wantPeeked(t, peek(t, again.dir, c.Digest), c, 2)
}

// settleStart ends the background tasks; they begin with the recheck, and end
// it.
func settleStart(s *Store) {
	s.stop()
	s.tasks.Wait()
}

func TestPeekHostile(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"have-map a link":  func(path string) error { return relink(path + haveSuffix) },
		"content a link":   relink,
		"have-map a fifo":  func(path string) error { return errors.Join(os.Remove(path+haveSuffix), mkfifo(path+haveSuffix)) },
		"content a fifo":   func(path string) error { return errors.Join(os.Remove(path), mkfifo(path)) },
		"content a dir":    func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"content gone":     os.Remove,
		"have-map cut":     func(path string) error { return os.Truncate(path+haveSuffix, 40) },
		"have-map cut off": func(path string) error { return os.Truncate(path+haveSuffix, 0) },
		"of another": func(path string) error {
			return os.WriteFile(path+haveSuffix, encodeHeader(chunk.Digest{}, 10), 0o600)
		},
	} {
		dir, c := sealedStore(t)
		if err := damage(Path(dir, c.Digest)); err != nil {
			t.Fatal(err)
		}
		if _, err := Peek(dir, c.Digest); !errors.Is(err, chunk.ErrNotFound) {
			t.Errorf("%s: error %v, want ErrNotFound", name, err)
		}
	}
	for name, damage := range map[string]func(path string) error{
		"content short":  func(path string) error { return os.Truncate(path, 10) },
		"content long":   func(path string) error { return os.Truncate(path, 1<<30) },
		"marks cut":      func(path string) error { return os.Truncate(path+haveSuffix, headerSize) },
		"sums cut":       func(path string) error { return os.Truncate(path+haveSuffix, headerSize+markSize+10) },
		"header changed": func(path string) error { return os.WriteFile(path+haveSuffix, encodeHeader(chunk.Digest{}, 10), 0o600) },
	} {
		dir, c := sealedStore(t)
		p := peek(t, dir, c.Digest)
		wantPeeked(t, p, c, 1)
		if err := damage(Path(dir, c.Digest)); err != nil {
			t.Fatal(err)
		}
		if n := p.Have().Count(); n != 0 {
			t.Errorf("%s under an open view: %d chunks are seen", name, n)
		}
	}
}

// relink puts a link in place of a file, to a copy of it.
func relink(path string) error {
	return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path))
}

// TestPeekHeedsTheSeal: a chunk that the seal contradicts is not there, also in
// the moment before the store drops it.
func TestPeekHeedsTheSeal(t *testing.T) {
	dir, c := sealedStore(t)
	p := peek(t, dir, c.Digest)
	wantPeeked(t, p, c, 1)
	list := storetest.NewContent(2, len(c.Bytes)).List()
	list.Object = c.Digest
	_, seal := c.Sealed(t, 1)
	if err := writeSeal(Path(dir, c.Digest)+sealSuffix, list, seal); err != nil {
		t.Fatal(err)
	}
	wantPeeked(t, p, c, 0)
	if p.Sums(0) != nil {
		t.Error("a chunk that the seal contradicts has sums")
	}
}

// TestPeekAtAnotherProcess looks at a store that another process writes, from
// its start until it is killed and after.
func TestPeekAtAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childSeed+"=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	lines := bufio.NewScanner(out)
	views := map[byte]*Peeked{}
	seen := 0
	for seen < 60 && lines.Scan() {
		var put putChunk
		if _, err := fmt.Sscan(lines.Text(), &put.seed, &put.i); err != nil {
			t.Fatalf("the child said %q: %v", lines.Text(), err)
		}
		c := crashContent(put.seed)
		if views[put.seed] == nil {
			views[put.seed] = peek(t, dir, c.Digest)
		}
		seen += checkPeeked(t, views[put.seed], c)
	}
	cmd.Process.Kill()
	_ = cmd.Wait() // killed, as it was told
	if seen < 60 {
		t.Errorf("only %d chunks were seen", seen)
	}
	for seed, p := range views {
		checkPeeked(t, p, crashContent(seed))
	}
}

func FuzzPeek(f *testing.F) {
	c := storetest.NewContent(1, chunk.BlockSize+10)
	h := newHaveMap(c.Size())
	h.marks[0], h.sums[0] = mark{state: durable}, c.Sums(0)
	b, err := h.encode(c.Digest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, c.Size())
	f.Add(b[:len(b)-1], c.Size())
	f.Add(encodeHeader(c.Digest, chunk.MaxObject), int64(chunk.MaxObject))
	f.Fuzz(func(t *testing.T, have []byte, length int64) {
		dir := t.TempDir()
		path := Path(dir, c.Digest)
		err := errors.Join(os.Mkdir(parentDir(path), 0o700), os.WriteFile(path+haveSuffix, have, 0o600),
			os.WriteFile(path, nil, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		if os.Truncate(path, length) != nil {
			return
		}
		p, err := Peek(dir, c.Digest)
		if err != nil {
			return
		}
		defer p.Close()
		present := p.Have()
		if present.Len() != chunk.Count(p.Size()) {
			t.Errorf("%d chunks of %d bytes", present.Len(), p.Size())
		}
		for i := range min(present.Len(), 100) {
			if sums := p.Sums(i); present.Has(i) != (len(sums) > 0) {
				t.Errorf("chunk %d: present %v, %d sums", i, present.Has(i), len(sums))
			}
		}
	})
}
