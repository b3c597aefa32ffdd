//go:build linux

package mountpoint

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOwnersValidate(t *testing.T) {
	for _, good := range []Owners{
		{}, {UIDs: "0:100000:65536"}, {GIDs: "0:0:1,1:100000:65535"}, {UIDs: "0:4294967294:1", GIDs: "5:6:7"},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for text, want := range map[string]string{
		"0:100000": "INSIDE:OUTSIDE:COUNT", "0:x:1": `"x"`, "-1:0:1": `"-1"`, "0:0:0": "no ids", "0:4294967295:1": "above",
		"1:4294967294:2": "above", "0:1000:10,5:2000:10": "another range", "0:1000:10,10:1009:1": "another range", "": "INSIDE",
		strings.Repeat("0:0:1,", maxRanges): "another range",
	} {
		if text == "" {
			continue // maps nothing
		}
		if err := (Owners{UIDs: text}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	many := make([]string, maxRanges+1)
	for i := range many {
		many[i] = fmt.Sprintf("%d:%d:1", i, i)
	}
	if err := (Owners{GIDs: strings.Join(many, ",")}).Validate(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too many ranges: %v", err)
	}
}

func TestOwnersOutside(t *testing.T) {
	as := Owners{UIDs: "0:100000:1000,1000:0:1", GIDs: "0:200000:10"}
	if user, group, err := as.Outside(1000, 9); user != 0 || group != 200009 || err != nil {
		t.Errorf("%d:%d, %v", user, group, err)
	}
	if _, _, err := as.Outside(0, 10); err == nil || !strings.Contains(err.Error(), "0:10") {
		t.Errorf("what is not mapped: %v", err)
	}
	if user, group, err := (Owners{}).Outside(7, 8); user != 7 || group != 8 || err != nil {
		t.Errorf("%d:%d, %v", user, group, err)
	}
}

func FuzzOwners(f *testing.F) {
	f.Add("0:100000:65536,65536:1000:1")
	f.Add("0:0:4294967295")
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := parseRanges(text)
		if err != nil {
			return
		}
		for _, r := range ranges {
			if r.size < 1 || r.inside < 0 || r.outside < 0 || r.inside+r.size-1 > maxID || r.outside+r.size-1 > maxID {
				t.Errorf("%q has %+v", text, r)
			}
		}
	})
}

// A process in a user namespace sees root's files as its own root's, and a program
// that is setuid there makes it that root.
func TestBindAsOthers(t *testing.T) {
	if err := Privileged(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // others must get here
		t.Fatal(err)
	}
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	for _, d := range []string{source, target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyProgram(t, "id", filepath.Join(source, "id"))
	as := Owners{UIDs: "0:100000:65536", GIDs: "0:200000:65536"}
	if err := Bind(source, target, as); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(target, false); err != nil {
			t.Error(err)
		}
	})
	if out := run(t, exec.Command("stat", "-c", "%u:%g", target+"/id")); out != "100000:200000" {
		t.Errorf("outside it belongs to %s", out)
	}
	inside := exec.Command("sh", "-c", `stat -c %u:%g "$1" && "$1" -u`, "sh", target+"/id")
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 200000, Size: 65536}},
		Credential:  &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: true},
	}
	if out := run(t, inside); out != "0:0\n0" {
		t.Errorf("inside: %s", out)
	}
	if out := run(t, exec.Command("stat", "-c", "%u:%g", source+"/id")); out != "0:0" {
		t.Errorf("it was chowned to %s", out)
	}
}

func TestBindAsOthersRefused(t *testing.T) {
	if err := Privileged(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	if err := Bind("/proc", t.TempDir(), Owners{UIDs: "0:1:1"}); err == nil || !strings.Contains(err.Error(), "lazy images need Linux 6.12") {
		t.Errorf("a file system without such mounts: %v", err)
	}
}

// copyProgram copies a program, setuid.
func copyProgram(t *testing.T, name, to string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	into, err := os.Create(to)
	if err == nil {
		_, err = io.Copy(into, from)
	}
	if err == nil {
		err = into.Chmod(0o755 | os.ModeSetuid)
	}
	if err == nil {
		err = into.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	return strings.TrimSpace(string(out))
}
