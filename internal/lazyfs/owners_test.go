//go:build linux

package lazyfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

const (
	userBase  = 100000
	groupBase = 200000
)

// inNamespace runs a shell as root of the user namespace that the tests map to.
func (w *world) inNamespace(dir, script string) string {
	w.Helper()
	shell := exec.CommandContext(w.Context(), "sh", "-ec", `cd "$1"; `+script, "sh", dir)
	shell.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: userBase, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: groupBase, Size: 65536}},
		Credential:  &syscall.Credential{NoSetGroups: true},
	}
	out, err := shell.CombinedOutput()
	if err != nil {
		w.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// An image that is shown as others' own is so lazily and natively, read-only and
// writable, and again after a restart; nothing is chowned.
func TestOwners(t *testing.T) { bothViews(t, testOwners, 2<<20, 40<<10) }

func testOwners(w *world) {
	t := w.T
	if err := os.Chmod(filepath.Dir(w.dir), 0o755); err != nil { // others must get here
		t.Fatal(err)
	}
	w.start(false)
	as := mountpoint.Owners{UIDs: fmt.Sprintf("0:%d:65536", userBase), GIDs: fmt.Sprintf("0:%d:65536", groupBase)}
	mount := func(kind string) string {
		dir := w.mkdir(kind)
		r := MountRequest{Target: dir, Owners: as, Writable: strings.HasSuffix(kind, "rw"), Native: strings.HasPrefix(kind, "native")}
		if err := w.mount(r); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		return dir
	}
	kinds := map[string]string{"ro": mount("ro"), "rw": mount("rw")}
	for i, object := range w.objects {
		w.same(kinds["ro"], i, 0, len(object))
	}
	w.eventually("complete", func() bool { return w.status().State == StateComplete })
	kinds["native"], kinds["native-rw"] = mount("native"), mount("native-rw")
	check := func(when string) {
		for kind, dir := range kinds {
			if out := w.inNamespace(dir, "stat -c %u:%g . small; wc -c < file0"); out != "5:6\n0:0\n2097152\n" {
				t.Errorf("%s, %s: %s", kind, when, out)
			}
			if out, err := exec.Command("stat", "-c", "%u:%g", dir).Output(); string(out) != "100005:200006\n" {
				t.Errorf("%s, %s: outside the root is %s (%v)", kind, when, out, err)
			}
		}
	}
	check("at first")
	for _, kind := range []string{"rw", "native-rw"} {
		w.inNamespace(kinds[kind], "echo more >> small; echo new > new; chown 7:8 file1; chmod 4755 file1")
	}
	w.halt()
	w.start(false)
	check("after a restart")
	for _, kind := range []string{"rw", "native-rw"} {
		if out := w.inNamespace(kinds[kind], "cat small new; stat -c %u:%g:%a file1"); out != "smallmore\nnew\n7:8:4755\n" {
			t.Errorf("%s: %s", kind, out)
		}
	}
	left, err := filepath.Glob(filepath.Join(w.dir, "run", "native", "ids-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, dir := range kinds {
		if err := w.daemon.Unmount(dir, false); err != nil {
			t.Error(err)
		}
	}
}

func TestOwnersRefused(t *testing.T) {
	w := newWorld(t, 1000)
	w.start(false)
	dir := w.mkdir("dir")
	for _, c := range []struct {
		request MountRequest
		want    string
	}{
		{MountRequest{Target: dir, Owners: mountpoint.Owners{UIDs: "0:1"}}, "INSIDE:OUTSIDE:COUNT"},
		{MountRequest{Target: dir, Writable: true, Owners: mountpoint.Owners{UIDs: "0:100000:5"}}, "leave out 5:6"},
	} {
		if err := w.mount(c.request); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.request.Owners, err)
		}
	}
}
