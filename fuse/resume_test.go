//go:build linux

package fuse

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
)

// twoFiles has a file in passthrough, one that is copied, and names.
func twoFiles() (tr *tree, large, small []byte) {
	tr = newTree()
	large, small = noise(1, 3<<20), noise(2, 200_000)
	tr.dir("sub")
	tr.file("large", large)
	tr.packed("sub/small", tr.object(small), 0, int64(len(small)))
	return tr, large, small
}

func hexOf(b []byte) string { return chunk.SumBytes(b).Hex() }

// A reader whose request was under way, one with a file open in passthrough, and
// one that opens the same file anew, notice nothing but a pause.
func TestKilledServerIsResumed(t *testing.T) {
	tr, large, small := twoFiles()
	l := newLives(t, tr)
	held := filepath.Join(l.state, hexOf(small)+".held")
	if err := os.WriteFile(held, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open, said := startHold(t, l.dir+"/img/large")
	_, waiting := start(t, "sum", l.dir+"/img/sub/small")
	time.Sleep(100 * time.Millisecond) // for the read to be under way; if it is not, the test is easier
	l.kill()
	_, late := start(t, "sum", l.dir+"/img/large")
	if err := os.Remove(held); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.live()
		l.kill()
	}
	l.live()
	for name, wait := range map[string]func() (string, error){hexOf(small): waiting, hexOf(large): late} {
		if out, err := wait(); err != nil || !strings.Contains(out, name) {
			t.Errorf("%v, %q", err, out)
		}
	}
	var sums map[string]string
	if run(t, &sums, "sum", l.dir+"/img/large"); sums[l.dir+"/img/large"] != hexOf(large) {
		t.Error("wrong content of a file that is open already")
	}
	if out := said(); !strings.Contains(out, hexOf(large)) {
		t.Errorf("what was open reads %q", out)
	}
	if err := open.Wait(); err != nil {
		t.Error(err)
	}
}

// startHold keeps a file open until said is called, which gives what it read.
func startHold(t *testing.T, path string) (cmd *exec.Cmd, said func() string) {
	t.Helper()
	cmd = child(t, "hold", path)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("open\n"))); err != nil {
		t.Fatal(err)
	}
	return cmd, func() string {
		in.Close()
		text, _ := io.ReadAll(out)
		return string(text)
	}
}

// Whichever step of an open or a close was the last, no reader sees an error, and
// no backing id stays registered.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	for _, step := range []string{"intended", "registered", "put", "noted", "closing", "unregistered", "cleared"} {
		t.Run(step, func(t *testing.T) {
			tr, large, _ := twoFiles()
			l := newLives(t, tr)
			l.kill()
			l.live(dieAt + "=" + step)
			path := l.dir + "/img/large"
			_, first := start(t, "sum", path)
			_, second := start(t, "sum", path)
			l.died()
			l.live()
			for _, wait := range []func() (string, error){first, second} {
				if out, err := wait(); err != nil || !strings.Contains(out, hexOf(large)) {
					t.Errorf("%v, %q", err, out)
				}
			}
		})
	}
}

// The same, while somebody has the file open all the time.
func TestKilledBetweenStepsOfAnOpenFile(t *testing.T) {
	for _, step := range []string{"put", "cleared"} {
		t.Run(step, func(t *testing.T) {
			tr, large, _ := twoFiles()
			l := newLives(t, tr)
			path := l.dir + "/img/large"
			open, said := startHold(t, path)
			l.kill()
			l.live(dieAt + "=" + step)
			_, reader := start(t, "sum", path)
			l.died()
			l.live()
			if out, err := reader(); err != nil || !strings.Contains(out, hexOf(large)) {
				t.Errorf("%v, %q", err, out)
			}
			if out := said(); !strings.Contains(out, hexOf(large)) {
				t.Errorf("what was open reads %q", out)
			}
			if err := open.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Readers that open, read and close all the time see no error through many lives.
func TestKilledAgainAndAgain(t *testing.T) {
	tr, large, small := twoFiles()
	l := newLives(t, tr)
	pairs := []string{l.dir + "/img/large", hexOf(large), l.dir + "/img/sub/small", hexOf(small)}
	var readers []*exec.Cmd
	var ends []io.Closer
	for range 3 {
		cmd := child(t, "loop", pairs...)
		in, _ := cmd.StdinPipe()
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		readers, ends = append(readers, cmd), append(ends, in)
	}
	for i := range 30 {
		time.Sleep(time.Duration(i*7%23) * time.Millisecond)
		l.kill()
		l.live()
	}
	for i, cmd := range readers {
		ends[i].Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// Who asks for an image that cannot be served yet waits for it.
func TestExpectedImagesAreWaitedFor(t *testing.T) {
	tr, _, small := twoFiles()
	l := newLives(t, tr)
	path := l.dir + "/img/sub/small"
	var before, after map[string]string
	run(t, &before, "sum", path)
	l.kill()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	l.live("SHOAL_FUSE_TEST_LATE=1")
	if run(t, &after, "sum", path); after[path] != hexOf(small) || before[path] != hexOf(small) {
		t.Errorf("%v, then %v", before, after)
	}
}

// resume has this process take the mount over.
func (l *lives) resume(t *testing.T, s Session, opens string) (*FS, error) {
	t.Helper()
	f, err := New(Default(), quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(l.device.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return f, f.Resume(s, os.NewFile(uintptr(fd), "/dev/fuse"), opens)
}

// A process that would have answered the kernel otherwise leaves the mount alone,
// and settings that the kernel knows stay as they were.
func TestResumeRefuses(t *testing.T) {
	tr, large, _ := twoFiles()
	l := newLives(t, tr)
	l.kill()
	session, opens := l.session(), l.state+"/opens"
	change := func(edit func(*Session)) Session {
		text, _ := json.Marshal(session)
		var s Session
		json.Unmarshal(text, &s)
		edit(&s)
		return s
	}
	damaged := l.state + "/damaged"
	table, err := os.ReadFile(opens)
	if err != nil {
		t.Fatal(err)
	}
	table[0]++
	if err := os.WriteFile(damaged, table, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s     Session
		opens string
		why   string
	}{
		"another answer":    {change(func(s *Session) { s.Reply[20]++ }), opens, "answered the kernel otherwise"},
		"an older kernel":   {change(func(s *Session) { s.Init[offFlags2] &^= 1 << 7 }), opens, "Linux 6.9"},
		"a damaged table":   {session, damaged, "damaged"},
		"no table":          {session, l.state + "/none", "no such file"},
		"no request":        {change(func(s *Session) { s.Init = s.Init[:20] }), opens, "first request"},
		"another request":   {change(func(s *Session) { s.Init[offOpcode]++ }), opens, "first request"},
		"settings of space": {change(func(s *Session) { s.Config.MaxRead = 1 }), opens, "largest read"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := l.resume(t, c.s, c.opens)
			if !errors.Is(err, ErrCannotResume) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("it says %v", err)
			}
			if _, mounted := f.Session(); mounted {
				t.Error("it took the mount all the same")
			}
		})
	}
	l.live("SHOAL_FUSE_TEST_COPY=1") // passthrough was on, and stays so
	var sums map[string]string
	if run(t, &sums, "sum", l.dir+"/img/large"); sums[l.dir+"/img/large"] != hexOf(large) {
		t.Error("wrong content")
	}
	loaded, err := loadOpens(opens)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.close()
	if loaded.words[headLast] == 0 {
		t.Skip("SKIP: this kernel refuses passthrough")
	}
}

func TestResumeRefusesADeadConnection(t *testing.T) {
	tr, _, _ := twoFiles()
	l := newLives(t, tr)
	l.kill()
	s := l.session()
	if err := abortConnection(s.Device); err != nil {
		t.Fatal(err)
	}
	if _, err := l.resume(t, s, l.state+"/opens"); !errors.Is(err, ErrCannotResume) {
		t.Errorf("it says %v", err)
	}
}
