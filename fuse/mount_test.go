//go:build linux

package fuse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain runs a child's part, if it is one. A process must not use a file
// system that it serves itself: its threads would wait for each other. So all that
// looks at a mount is in child_test.go, and runs in this binary started again.
func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		os.Exit(runChild(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// mounted serves a file system for a test, which must leave nothing behind.
func mounted(t *testing.T, cfg Config) (*FS, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("SKIP: no FUSE: %v", err)
	} else {
		f.Close()
	}
	f, err := New(cfg, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := devices(t)
	top := t.TempDir()
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil { // children are other users, too
		t.Fatal(err)
	}
	dir := filepath.Join(top, "a mount")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Mount(dir); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve() }()
	t.Cleanup(func() {
		// Another program's mount namespace, made meanwhile, may have a copy of the mount.
		held := time.AfterFunc(10*time.Second, func() { t.Log("held elsewhere:", f.Abort()) })
		defer held.Stop()
		if err := f.Close(); err != nil {
			t.Errorf("unmount: %v", err)
			f.Abort()
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if info, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(info, []byte(strings.ReplaceAll(dir, " ", `\040`))) {
			t.Errorf("%s is still mounted", dir)
		}
		if fds := devices(t); fds != before {
			t.Errorf("%d descriptors of /dev/fuse are open, not %d", fds, before)
		}
		if n := len(f.handles.open) + len(f.backings.slots) + len(f.backings.current) + len(f.Images()); n != 0 {
			t.Errorf("%d handles, backings and images are left", n)
		}
	})
	return f, dir
}

// devices counts this process's descriptors of /dev/fuse.
func devices(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == "/dev/fuse" {
			n++
		}
	}
	return n
}

// withImage serves one image, "img", and gives the path of its root.
func withImage(t *testing.T, cfg Config, tr *tree, c Content) (*FS, *Image, string) {
	t.Helper()
	f, dir := mounted(t, cfg)
	im, err := f.Add(7, "img", tr.image(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return f, im, dir + "/img"
}

// child is this binary started again to run one of the children.
func child(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	return childUntil(t.Context(), name, args...)
}

func childUntil(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	return cmd
}

// run runs a child, and reads what it says into out, unless that is nil.
func run(t *testing.T, out any, name string, args ...string) {
	t.Helper()
	text, err := child(t, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s%s", name, err, text, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s said %.200q: %v", name, text, err)
		}
	}
}

// start runs a child beside the test; wait gives its output.
func start(t *testing.T, name string, args ...string) (cmd *exec.Cmd, wait func() (string, error)) {
	t.Helper()
	cmd = child(t, name, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	var err error
	wait = func() (string, error) {
		once.Do(func() {
			if err = cmd.Wait(); err != nil {
				err = fmt.Errorf("%w: %s", err, problems.String())
			}
		})
		return out.String(), err
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		wait()
	})
	return cmd, wait
}

func TestUnmountWaitsForUsers(t *testing.T) {
	tr := newTree()
	tr.inline("f", []byte("here"))
	f, _, img := withImage(t, Default(), tr, newMemory(t))
	cmd := child(t, "hold", img+"/f")
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("closed a mount in use: %v", err)
	}
	if s, ok := f.Session(); !ok || len(s.Init) != 104 || s.Config != Default() || !strings.HasSuffix(s.Dir, "a mount") {
		t.Errorf("session %v %+v", ok, s)
	}
	if err := f.Mount(t.TempDir()); !errors.Is(err, ErrMounted) {
		t.Errorf("mounted twice: %v", err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestMountAgainAfterClose(t *testing.T) {
	f, dir := mounted(t, Default())
	for range 3 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := f.Serve(); err == nil {
			t.Fatal("served nothing")
		}
		if err := f.Close(); err != nil {
			t.Fatal("closed twice:", err)
		}
		if err := f.Mount(dir); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- f.Serve() }()
		defer func() {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}()
		var names []string
		if run(t, &names, "names", dir); len(names) != 0 {
			t.Errorf("%q", names)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMountRefusesWhatIsNoDirectory(t *testing.T) {
	f, err := New(Default(), quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Mount(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := f.Session(); ok {
		t.Error("a session without a mount")
	}
}

func TestAbortFreesReadersThatWait(t *testing.T) {
	tr := newTree()
	data := noise(1, 1<<20)
	tr.file("f", data)
	m := newMemory(t, data)
	m.lazy, m.gate = true, make(chan struct{})
	f, _, img := withImage(t, Default(), tr, m)
	_, wait := start(t, "sum", img+"/f")
	<-m.started
	if err := f.Abort(); err != nil {
		t.Fatal(err)
	}
	if out, err := wait(); err == nil {
		t.Errorf("the reader got %q", out)
	}
}

// A mount that another mount namespace has a copy of can still be ended.
func TestAbortEndsACloseThatWaits(t *testing.T) {
	f, dir := mounted(t, Default())
	holder := exec.CommandContext(t.Context(), "sleep", "60")
	holder.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	closed := make(chan error)
	go func() { closed <- f.Close() }()
	waitFor(t, func() bool {
		_, err := deviceAt(dir)
		return err != nil
	})
	if err := f.Abort(); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestReadAheadIsRaised(t *testing.T) {
	cfg := Default()
	cfg.ReadAhead = 768 << 10
	_, dir := mounted(t, cfg)
	device, err := deviceAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if kb, err := os.ReadFile("/sys/class/bdi/" + device + "/read_ahead_kb"); err != nil || strings.TrimSpace(string(kb)) != "768" {
		t.Errorf("%q, %v", kb, err)
	}
}

// eventually bounds what a test waits for in another process.
func eventually(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not come about")
	}
}
