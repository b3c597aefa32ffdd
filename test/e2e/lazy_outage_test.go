//go:build e2e && linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/cri"
)

// sums is a container's work: it reads the large file of [layered].
const sums = `busybox sha256sum < /data/large`

// sumOf is what [sums] says.
func sumOf(content []byte) string { return fmt.Sprintf("%x  -\n", sha256.Sum256(content)) }

// outage ends the supernode and the registry.
func (s *site) outage(t testing.TB) {
	t.Helper()
	s.super.kill()
	if err := s.registry.Stop(); err != nil {
		t.Error(err)
	}
}

func TestCompleteImagesRunWithNobodyElse(t *testing.T) {
	s := startSite(t)
	content := noise(130, 9<<20)
	name := s.push(t, "outage/complete:v1", layered(t, "complete", content))
	m := s.machine(t)
	must(m.containerd.pods.Pull(t.Context(), name))(t)
	m.lazy.untilComplete(t, name)
	pod := m.containerd.pod(t, "before")
	s.outage(t)
	run := func(name string, pod *cri.Pod, image string) {
		t.Helper()
		if out := says(t, pod, cri.ContainerConfig{Name: name, Image: image, Command: []string{"sh", "-c", sums}}); out != sumOf(content) {
			t.Errorf("%s says %q", name, out)
		}
	}
	run("in-the-old-pod", pod, name)
	run("in-a-new-pod", m.containerd.pod(t, "outage"), name)
	m.lazy.peer.kill()
	run("without-the-peer", pod, name)
	m.lazy.peer.probe = "/healthz" // it is up, and says that it is not ready
	m.lazy.peer.run(t)
	m.reboots(t)
	run("after-a-reboot", m.containerd.pod(t, "rebooted"), name)
}

// reboots ends all that runs on the machine, at once, and starts it again with
// nothing that a reboot does not keep.
func (m *machine) reboots(t *testing.T) {
	t.Helper()
	for _, d := range []*process{m.containerd.process, m.lazy.process, m.lazy.peer.process} {
		d.kill()
	}
	dirs := []string{m.lazy.dir, m.containerd.config.Dir}
	for killed := true; killed; { // a shim's end leaves its container's processes
		killed = false
		for _, pid := range append(processesOf(dirs), processesIn(cri.Groups(groupName()))...) {
			killed = unix.Kill(pid, unix.SIGKILL) == nil || killed
		}
	}
	for _, dir := range dirs {
		unmountUnder(t, dir)
	}
	for _, dir := range []string{m.lazy.dir + "/run", m.containerd.config.Dir + "/state", m.containerd.config.Dir + "/runc"} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	m.lazy.peer.run(t)
	m.startLazy(t)
	m.containerd.run(t)
}

// processesOf are those whose command line names one of the directories.
func processesOf(dirs []string) (pids []int) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range found {
		line, _ := os.ReadFile(file)
		for _, dir := range dirs {
			if strings.Contains(string(line), dir+"/") {
				pids = append(pids, number(filepath.Base(filepath.Dir(file)))...)
				break
			}
		}
	}
	return pids
}

// processesIn are those of control groups and of all below them.
func processesIn(groups []string) (pids []int) {
	for _, group := range groups {
		_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				text, _ := os.ReadFile(path)
				pids = append(pids, number(strings.Fields(string(text))...)...)
			}
			return nil
		})
	}
	return pids
}

func number(texts ...string) (numbers []int) {
	for _, text := range texts {
		if n, err := strconv.Atoi(text); err == nil && n != os.Getpid() {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func TestMissingBytesComeFromANeighbourInAnOutage(t *testing.T) {
	s := startSite(t)
	content := noise(131, 24<<20)
	name := s.push(t, "outage/shared:v1", layered(t, "shared", content))
	neighbour := s.machine(t)
	must(neighbour.containerd.pods.Pull(t.Context(), name))(t)
	neighbour.lazy.untilComplete(t, name)
	m := s.machine(t, noFill())
	must(m.containerd.pods.Pull(t.Context(), name))(t)
	pod := m.containerd.pod(t, "one")
	s.outage(t)
	if out := says(t, pod, cri.ContainerConfig{Name: "reads", Image: name, Command: []string{"sh", "-c", sums}}); out != sumOf(content) {
		t.Errorf("it says %q", out)
	}
	if from := m.lazy.image(t, name).Sources; from["peer"] < int64(len(content)) {
		t.Errorf("the bytes came from %v, want the missing ones from peers", from)
	}
}

func TestMissingBytesAreWaitedForInAnOutage(t *testing.T) {
	s := startSite(t)
	content := noise(132, 24<<20)
	name := s.push(t, "outage/nobody:v1", layered(t, "nobody", content))
	m := s.machine(t, noFill())
	must(m.containerd.pods.Pull(t.Context(), name))(t)
	pod := m.containerd.pod(t, "one")
	s.outage(t)
	c := must(pod.Start(t.Context(), cri.ContainerConfig{Name: "c", Image: name, Command: []string{"sh", "-c", sums}}))(t)
	waiting := m.lazy.until(t, name, "a waiting read", waits)
	if w := waiting.Waits[0]; w.Length == 0 || w.Since.IsZero() || w.Reason == "" {
		t.Errorf("what is waited for is told as %+v", w)
	}
	s.super.run(t)
	if code := ends(t, c); code != 0 {
		t.Errorf("it ended with %d: %s", code, must(c.Output("stderr"))(t))
	}
	if out := must(c.Output("stdout"))(t); out != sumOf(content) {
		t.Errorf("it says %q", out)
	}
	if left := m.lazy.image(t, name); len(left.Waits) != 0 || left.Errors != 0 {
		t.Errorf("afterwards: %+v", left)
	}
}
