//go:build linux

package lazyfs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

// hold has the world's image held for a user.
func (w *world) hold(user string) {
	w.Helper()
	opened, err := w.daemon.Holdings().Open(w.Context(), "r/app:1", "", func(int64, int64) {})
	if err == nil {
		err = w.daemon.Holdings().Hold(w.Context(), user, opened, len(opened.DiffIDs))
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) lower(user string) string {
	w.Helper()
	dir, err := w.daemon.Holdings().Lower(w.Context(), user)
	if err != nil {
		w.Fatal(err)
	}
	return dir
}

func layers(n int) (ids []chunk.Digest) {
	for i := range n {
		ids = append(ids, chunk.SumBytes([]byte{byte(i)}))
	}
	return ids
}

// What is held is shown lazily, then by the kernel; outlives the daemon; and is
// gone from the store when its last user is.
func TestHeldImage(t *testing.T) {
	w := newWorld(t, 6<<20, 40<<10)
	w.image.DiffIDs = layers(3)
	w.graduate = true
	w.start(false)
	w.hold("a")
	lazy := w.lower("a")
	w.same(lazy, 1, 0, 40<<10)
	w.hold("b")
	bytes, files, err := w.daemon.Holdings().Usage("a")
	if want := int64(40<<10) + w.image.TreeSize; bytes != want || files != 2 || err != nil {
		t.Errorf("usage of %d bytes, not %d, in %d files, %v", bytes, want, files, err)
	}
	if bytes, _, _ := w.daemon.Holdings().Usage("b"); bytes != 0 {
		t.Errorf("%d bytes count twice", bytes)
	}
	w.same(lazy, 0, 0, 6<<20)
	native := w.lower("a")
	if native == lazy {
		t.Fatal("the complete image is not the kernel's")
	}
	w.same(native, 0, 0, 6<<20)
	users := w.daemon.Holdings().Users()
	if !slices.Equal(users, []string{"a", "b"}) || !w.status().Native {
		t.Errorf("users %v, status %+v", users, w.status())
	}
	w.hangUp()
	w.daemon.Holdings().Release(t.Context(), "a")
	w.same(w.lower("b"), 0, 0, 6<<20)
	w.daemon.Holdings().Release(t.Context(), "b")
	if left, err := mountpoint.Below(w.daemon.nativeRoot()); err != nil || len(left) > 0 {
		t.Errorf("left mounted: %v (%v)", left, err)
	}
	w.answer()
	w.eventually("removed from the store", func() bool {
		left, err := filepath.Glob(filepath.Join(w.peer.Dir, "??", "*"))
		return err == nil && len(w.peer.Pins()) == 0 && len(left) == 0
	})
}

func TestHeldAcrossARestart(t *testing.T) {
	w := newWorld(t, 3<<20)
	w.image.DiffIDs = layers(1)
	w.start(false)
	w.hold("a")
	w.same(w.lower("a"), 0, 0, 3<<20)
	w.hangUp()
	w.stop()
	w.start(false)
	w.same(w.lower("a"), 0, 0, 3<<20)
	if err := w.daemon.Holdings().Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.daemon.Holdings().Lower(t.Context(), "a"); err == nil {
		t.Error("shown after it was released")
	}
	w.answer()
}

func TestHoldRefuses(t *testing.T) {
	w := newWorld(t, 1000)
	w.image.DiffIDs = layers(2)
	w.start(false)
	opened, err := w.daemon.Holdings().Open(t.Context(), "r/app:1", "", func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, depth := range []int{0, -1, 3} {
		if err := w.daemon.Holdings().Hold(t.Context(), "a", opened, depth); err == nil {
			t.Errorf("held %d layers of 2", depth)
		}
	}
	if err := w.daemon.Holdings().Hold(t.Context(), "a", &snapshotter.Image{Known: []byte("{")}, 1); err == nil {
		t.Error("held what cannot be read")
	}
	if users := w.daemon.Holdings().Users(); len(users) > 0 {
		t.Errorf("held by %v", users)
	}
	w.peer.Fail(os.ErrPermission)
	if err := w.daemon.Holdings().Hold(t.Context(), "a", opened, 1); err == nil {
		t.Error("held a view that nobody could open")
	}
	w.peer.Fail(nil)
}

// New mounts of a complete image are the kernel's, writable ones too, and outlive
// the daemon.
func TestNewMountsGraduate(t *testing.T) {
	w := newWorld(t, 2<<20)
	w.graduate = true
	w.start(true)
	first := w.mkdir("first")
	if err := w.mount(MountRequest{Target: first}); err != nil {
		t.Fatal(err)
	}
	w.eventually("complete", func() bool { return w.status().State == StateComplete })
	plain, writable := w.mkdir("plain"), w.mkdir("rw")
	for _, r := range []MountRequest{{Target: plain}, {Target: writable, Writable: true}} {
		if err := w.mount(r); err != nil {
			t.Fatal(err)
		}
	}
	mounted, err := mountpoint.At(plain)
	if err != nil || len(mounted) != 1 || mounted[0].Type != nativeType {
		t.Errorf("mounted %+v, %v", mounted, err)
	}
	if s := w.status(); s.Mounts[0].Native || !s.Mounts[1].Native || !s.Mounts[2].Native {
		t.Errorf("mounts %+v", s.Mounts)
	}
	w.same(writable, 0, 0, 2<<20)
	for _, dir := range []string{first, plain, writable} {
		if err := w.daemon.Unmount(dir, false); err != nil {
			t.Error(err)
		}
	}
}
