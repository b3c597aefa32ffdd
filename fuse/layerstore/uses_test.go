//go:build linux

package layerstore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// storage makes a storage that took the layer so many times.
func storage(t *testing.T, path string, times int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range times + 1 { // and one of its own
		layer := filepath.Join(dir, "overlay", fmt.Sprint(i))
		if err := os.MkdirAll(layer, 0o700); err != nil {
			t.Fatal(err)
		}
		if i < times {
			if err := os.WriteFile(filepath.Join(layer, "additionallayer"), []byte(path), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// An engine that was killed has not ended its uses; a storage that is gone has
// none.
func TestForgottenUsesEnd(t *testing.T) {
	w := newWorld(t, nil)
	d := w.image[0].Digest
	dir := storage(t, w.path(d), 2)
	script := `exec 9> "$2/storage.lock"; : > "$1/use"`
	for range 3 {
		if out, err := sh(t, script, w.path(d), dir); err == nil {
			t.Fatal(out)
		}
	}
	n := name{reference, d}
	w.Store.mu.Lock()
	r := w.Store.found[n].record
	w.Store.mu.Unlock()
	if r.Uses != 3 || !slices.Equal(r.Storages, []string{dir}) || r.Strange {
		t.Fatalf("%+v", r)
	}
	now := time.Now()
	if err := w.look(now.Add(w.cfg.Recount - time.Minute)); err != nil || w.uses(d) != 3 {
		t.Errorf("early on %d uses, %v", w.uses(d), err)
	}
	now = now.Add(w.cfg.Recount + time.Minute)
	if err := w.look(now); err != nil || w.uses(d) != 2 {
		t.Errorf("later %d uses, %v", w.uses(d), err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	now = now.Add(w.cfg.Recount)
	if err := w.look(now); err != nil || len(w.Users()) != 0 {
		t.Errorf("at last held are %q, %v", w.Users(), err)
	}
}

// Who takes a layer in a way that cannot be followed keeps it; who only looked at
// it, and was killed, does not.
func TestStrangeUsesStay(t *testing.T) {
	w := newWorld(t, nil)
	taken, seen := w.image[0].Digest, w.image[1].Digest
	if out, err := sh(t, `true > "$1/use"; true > "$1/use"; rmdir "$1"`, w.path(taken)); err == nil {
		t.Fatal(out)
	}
	w.use(t, seen)
	if err := w.look(time.Now().Add(1000 * w.cfg.Recount)); err != nil || w.uses(taken) != 1 || w.uses(seen) != -1 {
		t.Errorf("%d and %d uses, %v", w.uses(taken), w.uses(seen), err)
	}
	if r := w.Store.found[name{reference, taken}].record; !r.Strange || len(r.Processes) > 0 {
		t.Errorf("%+v", r)
	}
}

// An engine that goes on may still take what it found.
func TestUsesOfARunningProcessStay(t *testing.T) {
	w := newWorld(t, nil)
	d := w.image[0].Digest
	cmd := exec.Command("sh", "-c", `true > "$1/use"; echo; cat`, "sh", w.path(d))
	in, out := must(cmd.StdinPipe())(t), must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }() // it ends with its input
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.look(time.Now().Add(1000 * w.cfg.Recount)); err != nil || w.uses(d) != 1 {
		t.Errorf("%d uses, %v", w.uses(d), err)
	}
}
