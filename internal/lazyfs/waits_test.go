//go:build linux

package lazyfs

import (
	"path/filepath"
	"testing"
)

// A wait says why at once, not only after its first attempt failed.
func TestWaitsAreExplainedAtOnce(t *testing.T) {
	w := newWorld(t, 1<<20)
	w.start(false)
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	release := w.peer.Hold()
	read := make(chan error, 1)
	go func() {
		_, err := w.read(filepath.Join(dir, "file0"), 0, 1<<20)
		read <- err
	}()
	w.eventually("a wait with the peer's reason", func() bool {
		s := w.status()
		return len(s.Waits) > 0 && s.Waits[0].Reason == "held up"
	})
	release()
	if err := <-read; err != nil {
		t.Error(err)
	}
}
