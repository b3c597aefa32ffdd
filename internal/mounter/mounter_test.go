//go:build linux

package mounter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// TestMain is the process, if it was started as one.
func TestMain(m *testing.M) {
	if os.Args[0] == "mounter" {
		if err := Main(func() {}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// oneFile is a tree with the file "f", which is object 0.
type oneFile []byte

func (oneFile) Len() int       { return 2 }
func (oneFile) Parent(int) int { return 0 }

func (f oneFile) Devices() []erofs.Device {
	return []erofs.Device{{Object: chunk.SumBytes(f), Size: int64(len(f))}}
}

func (f oneFile) Inode(i int, n *erofs.Inode, _ *erofs.Content, _ *[]erofs.Xattr) error {
	*n = erofs.Inode{Mode: erofs.ModeRegular | 0o644, Nlink: 1, Size: int64(len(f))}
	if i == 0 {
		*n = erofs.Inode{Mode: erofs.ModeDir | 0o755, Nlink: 2}
	}
	return nil
}

func (oneFile) Children(_ int, yield func(string, int, uint32) bool) error {
	yield("f", 1, erofs.ModeRegular|0o644)
	return nil
}

// order is one that can be done.
func order(t *testing.T, content []byte) Order {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	dir := t.TempDir()
	var tree bytes.Buffer
	if _, err := erofs.Write(&tree, oneFile(content)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"tree": tree.Bytes(), "0": content} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Order{Tree: filepath.Join(dir, "tree"), Objects: dir, Devices: 1, ReadAhead: 1 << 20}
}

// processes are those that this one started as mounters.
func processes(t *testing.T) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread that ended has none
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}

func TestMounts(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 1024)
	o := order(t, content)
	m := New("/proc/self/exe", "mounter")
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mount, err := m.Mount(o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/f", mount.Fd()))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		mount.Close()
	}
	eventually(t, func() bool { return len(processes(t)) == 1 }) // those of other tests end
	m.Close()
	eventually(t, func() bool { return len(processes(t)) == 0 })
	if _, err := m.Mount(o); err == nil {
		t.Error("mounted after the end")
	}
}

func TestFailures(t *testing.T) {
	o := order(t, make([]byte, 4096))
	m := New("/proc/self/exe", "mounter")
	defer m.Close()
	for what, bad := range map[string]Order{
		"no such file": {Tree: o.Tree + "-none", Objects: o.Objects, Devices: 1},
		"objects":      {Tree: o.Tree, Objects: o.Objects},
		"corrupt":      {Tree: filepath.Join(o.Objects, "0"), Objects: o.Objects, Devices: 1},
	} {
		if mount, err := m.Mount(bad); err == nil || mount != nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, pid := range processes(t) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return len(processes(t)) == 0 })
	if _, err := m.Mount(o); err == nil {
		t.Error("a process that was killed mounts")
	}
	mount, err := m.Mount(o) // by the next
	if err != nil {
		t.Fatal(err)
	}
	mount.Close()
	if _, err := New("/nonexistent", "mounter").Mount(o); err == nil || !strings.Contains(err.Error(), "starting") {
		t.Errorf("without a program: %v", err)
	}
}
