//go:build linux

package fuse

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
)

// lazyImage has one file, "f", of which nothing is here.
func lazyImage(t *testing.T, cfg Config, gated bool) (f *FS, im *Image, m *memory, tr *tree, img string) {
	tr = newTree()
	tr.file("f", noise(1, 2*chunk.Size))
	m = newMemory(t, tr.objects...)
	m.lazy = true
	if gated {
		m.gate = make(chan struct{})
	}
	f, im, img = withImage(t, cfg, tr, m)
	return f, im, m, tr, img
}

func lazyMount(t *testing.T, cfg Config, gated bool) (*FS, *Image, *memory, []byte, string) {
	f, im, m, tr, img := lazyImage(t, cfg, gated)
	return f, im, m, tr.at("f").data, img + "/f"
}

func TestKernelManyReadersOneFetch(t *testing.T) {
	_, im, m, data, path := lazyMount(t, Default(), true)
	const readers = 20
	_, wait := start(t, "direct", path, fmt.Sprint(readers))
	waitFor(t, func() bool { return len(im.Status().Waits) == readers })
	close(m.gate)
	out, err := wait()
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	if err := json.Unmarshal([]byte(out), &sums); err != nil {
		t.Fatal(err)
	}
	want := chunk.SumBytes(data[:64<<10]).Hex()
	if len(sums) != readers || slices.ContainsFunc(sums, func(s string) bool { return s != want }) {
		t.Errorf("%q", sums)
	}
	if f := m.fetches(); !slices.Equal(f, []string{"0+262144"}) {
		t.Errorf("fetched %q", f)
	}
}

// A reader can be killed although its bytes do not come; the others get theirs.
func TestKernelKilledReader(t *testing.T) {
	_, im, m, data, path := lazyMount(t, Default(), true)
	cmd, killed := start(t, "direct", path, "3")
	_, other := start(t, "direct", path, "1")
	waitFor(t, func() bool { return len(im.Status().Waits) == 4 })
	for _, sig := range []unix.Signal{unix.SIGCONT, unix.SIGURG, unix.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	dead := make(chan struct{})
	go func() {
		killed()
		close(dead)
	}()
	eventually(t, dead)
	waitFor(t, func() bool { return len(im.Status().Waits) == 1 })
	close(m.gate)
	out, err := other()
	if want := chunk.SumBytes(data[:64<<10]).Hex(); err != nil || !strings.Contains(out, want) {
		t.Errorf("the other reader: %v, %q", err, out)
	}
	if len(m.fetches()) != 1 || im.Status().Errors != 0 {
		t.Errorf("fetched %q, %+v", m.fetches(), im.Status())
	}
}

// A read goes on over signals that its process handles.
func TestKernelSignalledReader(t *testing.T) {
	_, im, m, data, path := lazyMount(t, Default(), true)
	cmd := child(t, "signals", path)
	stderr, _ := cmd.StderrPipe()
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(im.Status().Waits) == 1 })
	// To the thread that reads, for it to be interrupted; it is one of them.
	lines := bufio.NewScanner(stderr)
	for range 3 {
		for _, tid := range threads(t, cmd.Process.Pid) {
			unix.Tgkill(cmd.Process.Pid, tid, unix.SIGUSR1)
		}
		if !lines.Scan() {
			t.Fatal("no signal came")
		}
	}
	close(m.gate)
	for lines.Scan() {
		if lines.Text() != "signal" {
			t.Error(lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), chunk.SumBytes(data[:64<<10]).Hex()) {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestKernelDeadline(t *testing.T) {
	cfg := Default()
	cfg.Deadline = 100 * time.Millisecond
	_, im, m, data, path := lazyMount(t, cfg, true)
	var errnos []string
	if run(t, &errnos, "errno", path); !slices.Equal(errnos, []string{"EIO"}) {
		t.Errorf("%q", errnos)
	}
	if im.Status().Errors == 0 {
		t.Error("no error is counted")
	}
	close(m.gate)
	comesAfterAll(t, path, data)
}

// comesAfterAll reads a file that was late until it is asked for again.
func comesAfterAll(t *testing.T, path string, data []byte) {
	t.Helper()
	waitFor(t, func() bool {
		var errnos []string
		run(t, &errnos, "errno", path)
		return errnos[0] == "<nil>"
	})
	var sums map[string]string
	if run(t, &sums, "sum", path); sums[path] != chunk.SumBytes(data).Hex() {
		t.Error("wrong content after the bytes came")
	}
}

func TestPassthroughOfCompleteFiles(t *testing.T) {
	tr := everything()
	f, im, img := withImage(t, Default(), tr, newMemory(t, tr.objects...))
	paths := []string{img + "/large", img + "/sparse"}
	var sums map[string]string
	run(t, &sums, "sum", paths...)
	for _, name := range []string{"large", "sparse"} {
		if sums[img+"/"+name] != chunk.SumBytes(tr.at(name).data).Hex() {
			t.Errorf("%s has wrong content", name)
		}
	}
	if n := valueOf(t, f.metrics.Refused); n > 0 {
		t.Skip("SKIP: this kernel refuses passthrough")
	}
	if n := valueOf(t, f.metrics.Opens.WithLabelValues("passthrough")); n != 2 || im.Status().Reads != 0 || im.Status().Opens != 2 {
		t.Errorf("%v passthrough opens, %+v", n, im.Status())
	}
	run(t, &sums, "sum", img+"/deep/er/packed")
	if n := valueOf(t, f.metrics.Opens.WithLabelValues("copy")); n != 1 || im.Status().Reads == 0 {
		t.Errorf("%v opens to copy, %+v", n, im.Status())
	}
}

func TestPassthroughCanBeTurnedOff(t *testing.T) {
	tr := everything()
	cfg := Default()
	cfg.Passthrough = false
	f, im, img := withImage(t, cfg, tr, newMemory(t, tr.objects...))
	path := img + "/large"
	var sums map[string]string
	if run(t, &sums, "sum", path); sums[path] != chunk.SumBytes(tr.at("large").data).Hex() {
		t.Error("wrong content")
	}
	if valueOf(t, f.metrics.Opens.WithLabelValues("copy")) != 1 || im.Status().Reads == 0 {
		t.Errorf("%+v", im.Status())
	}
	// The kernel may still be reading ahead, but no byte twice.
	if run(t, &sums, "sum", path); im.Status().Opens != 2 || im.Status().Bytes > int64(len(tr.at("large").data)) {
		t.Errorf("pages are not kept: %+v", im.Status())
	}
}

// A file stays in the way in which it was opened first: the kernel would refuse
// another open in the other way.
func TestPassthroughBeginsWhenAllHaveClosed(t *testing.T) {
	f, im, _, data, path := lazyMount(t, Default(), false)
	cmd := child(t, "twice", path)
	stdin, _ := cmd.StdinPipe()
	stderr, _ := cmd.StderrPipe()
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	if !lines.Scan() {
		t.Fatal("the child did not open the file")
	}
	var sums map[string]string
	run(t, &sums, "sum", path) // by which it becomes complete
	stdin.Close()
	for lines.Scan() {
		t.Error(lines.Text())
	}
	want := chunk.SumBytes(data).Hex()
	if err := cmd.Wait(); err != nil || strings.Count(out.String(), want) != 2 || sums[path] != want {
		t.Fatalf("%v, %q", err, out.String())
	}
	if n := valueOf(t, f.metrics.Opens.WithLabelValues("passthrough")); n != 0 {
		t.Fatalf("%v passthrough opens", n)
	}
	waitFor(t, func() bool { // the kernel tells of closed files when it likes
		f.backings.mu.Lock()
		defer f.backings.mu.Unlock()
		return len(f.backings.current) == 0
	})
	before := im.Status().Reads
	if run(t, &sums, "sum", path); sums[path] != want {
		t.Error("wrong content")
	}
	if valueOf(t, f.metrics.Refused) == 0 && (valueOf(t, f.metrics.Opens.WithLabelValues("passthrough")) != 1 || im.Status().Reads != before) {
		t.Errorf("%d reads, not %d", im.Status().Reads, before)
	}
}

func TestOpenCloseStorm(t *testing.T) {
	tr := everything()
	_, im, img := withImage(t, Default(), tr, newMemory(t, tr.objects...))
	paths := []string{img + "/large", img + "/sparse", img + "/deep/er/packed"}
	var all sync.WaitGroup
	for range 3 {
		_, wait := start(t, "storm", paths...)
		all.Go(func() {
			if _, err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s := im.Status(); s.Opens != 3*8*200 || s.Errors != 0 {
		t.Errorf("%+v", s)
	}
}

// A storm over a file that becomes complete meanwhile, and images that come and
// go beside it.
func TestStormWhileThingsChange(t *testing.T) {
	f, im, _, _, path := lazyMount(t, Default(), false)
	_, wait := start(t, "storm", path)
	other := newTree()
	other.inline("x", []byte("x"))
	for i := range 30 {
		if _, err := f.Add(uint32(100+i), "other", other.image(t), newMemory(t)); err != nil {
			t.Fatal(err)
		}
		if err := f.Remove(uint32(100 + i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := wait(); err != nil {
		t.Error(err)
	}
	if s := im.Status(); s.Errors != 0 {
		t.Errorf("%+v", s)
	}
}
