//go:build linux

package lazyfs

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/internal/lazyfs/content"
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

// An image that does not fit is not filled, and whoever waits for that hears so.
func TestImageWithoutRoom(t *testing.T) {
	w := newWorld(t, 5<<20, 40<<10)
	w.peer.SetRoom(5 << 20)
	w.start(true)
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	w.eventually("that it does not fit", func() bool { return strings.Contains(w.status().NoRoom, "store.quota") })
	err := w.daemon.waitComplete(t.Context(), dir, func(content.Progress) {})
	if err == nil || !strings.Contains(err.Error(), "store.quota") {
		t.Errorf("waiting for it: %v", err)
	}
	w.same(dir, 1, 0, 40<<10)
	if s := w.status(); s.State != StateLazy || s.Became["fill"] != 0 {
		t.Errorf("status %+v", s)
	}
}
