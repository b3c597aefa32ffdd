//go:build linux

package mountpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	table := `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:45 / /run/shoal/lazyfs/images ro - fuse.shoal shoal ro,user_id=0
31 22 0:45 /abc /mnt/with\040space ro master:1 - fuse.shoal shoal ro,user_id=0
32 22 0:46 / /mnt/back\134slash rw - overlay shoal rw,lowerdir=/a:/b,upperdir=/u\040v
nonsense
33 22 0:46 / /short
`
	mounts, err := parse(strings.NewReader(table))
	if err != nil || len(mounts) != 4 {
		t.Fatalf("%d mounts, %v", len(mounts), err)
	}
	if m := mounts[2]; m != (Mount{"0:45", "/abc", "/mnt/with space", "fuse.shoal", "shoal", "ro,user_id=0"}) {
		t.Errorf("%+v", m)
	}
	if m := mounts[3]; m.Point != `/mnt/back\slash` || !strings.Contains(m.Super, "/u v") {
		t.Errorf("%+v", m)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("22 1 254:0 / / rw - ext4 /dev/vda rw\n")
	f.Add(`31 22 0:45 /\040 /\7 ro - a b c`)
	f.Fuzz(func(t *testing.T, table string) {
		mounts, err := parse(strings.NewReader(table))
		if err == nil && len(mounts) > strings.Count(table, "\n")+1 {
			t.Errorf("%d mounts", len(mounts))
		}
	})
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "empty"), 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
		os.Symlink("empty", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		filepath.Join(dir, "none"): "mkdir -p", filepath.Join(dir, "file"): "is not a directory",
		dir: "is not empty", "relative": "not an absolute path", "/proc": "something is mounted on /proc",
	} {
		if _, err := Check(target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", target, err)
		}
	}
	resolved, err := Check(filepath.Join(dir, "link"))
	if err != nil || filepath.Base(resolved) != "empty" {
		t.Errorf("%s, %v", resolved, err)
	}
}

func TestBindAndOverlay(t *testing.T) {
	if err := Privileged(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	// a colon and a comma in a path mean something to overlay
	for _, name := range []string{"lo:wer,1/sub", "upper", "work", "bound", "over"} {
		if err := os.MkdirAll(path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, name := range []string{"over", "bound"} {
			if err := Unmount(path(name), true); err != nil {
				t.Error(err)
			}
		}
	})
	if err := Bind(path("lo:wer,1"), path("bound"), Owners{}); err != nil {
		t.Fatal(err)
	}
	if err := Overlay(path("bound"), path("upper"), path("work"), path("over")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("over/sub/new"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path("lo:wer,1/sub/new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a change went below: %v", err)
	}
	below, err := Below(dir)
	if err != nil || len(below) != 2 || below[1].Type != "overlay" {
		t.Errorf("%+v, %v", below, err)
	}
	if err := Overlay(path("lo:wer,1"), path("upper/none"), path("work"), path("over")); err == nil || !strings.Contains(err.Error(), "upperdir") {
		t.Errorf("an overlay without its upper directory: %v", err)
	}
	user := exec.Command("sleep", "1000")
	user.Dir = path("bound")
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { user.Process.Kill(); user.Wait() }()
	if err := Unmount(path("bound"), false); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "fuser") {
		t.Errorf("unmounted what is in use: %v", err)
	}
	if err := Unmount(path("upper"), false); err != nil {
		t.Errorf("what is no mount: %v", err)
	}
}

func TestExplain(t *testing.T) {
	for err, want := range map[error]string{
		unix.EPERM: "run as root", unix.ENODEV: "modprobe", unix.ENOSYS: "Linux 5.2", unix.ENOSPC: "fs.mount-max",
	} {
		got := explain("mounting", err, "the kernel says")
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) || !strings.Contains(got.Error(), "the kernel says") {
			t.Errorf("%v", got)
		}
	}
}
