//go:build linux

package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/fuse/snapshotter/imagestest"
)

const (
	labelTarget = "containerd.io/snapshot.ref"
	labelImage  = "containerd.io/snapshot/cri.image-ref"
)

// lazyImage serves a snapshotter that has a lazy image of one layer, and gives
// that layer's name.
func lazyImage(t *testing.T) (client snapshots.Snapshotter, top string) {
	t.Helper()
	needRoot(t)
	root := t.TempDir()
	var images *imagestest.Fake
	client, stop, err := serveWith(root, func(f *imagestest.Fake) { images = f })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	image := images.Add("image:1", imagestest.Layer{"etc/base": "base"})
	top = image.DiffIDs[0].String()
	_, err = client.Prepare(t.Context(), "key", "", snapshots.WithLabels(map[string]string{labelTarget: top, labelImage: "image:1"}))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatalf("the lazy layer: %v", err)
	}
	if info, err := client.Stat(t.Context(), top); err != nil || info.Kind != snapshots.KindCommitted {
		t.Fatalf("the lazy layer: %+v, %v", info, err)
	}
	return client, top
}

// mounted mounts what was answered, as containerd does.
func mounted(t *testing.T, mounts []mount.Mount) string {
	t.Helper()
	dir := t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Fatalf("mounting %v: %v", mounts, err)
	}
	t.Cleanup(func() {
		if err := mount.UnmountAll(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Options of a mount are at most 4,096 bytes, and what lies on a view has lower
// directories in two places.
func TestManyLayersOnAView(t *testing.T) {
	client, parent := lazyImage(t)
	const layers = 120
	for i := range layers {
		key, name := fmt.Sprint("key ", i), fmt.Sprint("layer ", i)
		if _, err := client.Prepare(t.Context(), key, parent); err != nil {
			t.Fatal(err)
		}
		mounts, err := client.Mounts(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := mount.WithTempMount(t.Context(), mounts, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, name), nil, 0o644)
		}); err != nil {
			t.Fatalf("layer %d: %v", i, err)
		}
		if err := client.Commit(t.Context(), name, key); err != nil {
			t.Fatal(err)
		}
		parent = name
	}
	mounts, err := client.View(t.Context(), "view", parent)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(mounted(t, mounts))
	if err != nil || len(entries) != layers+1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// containerd puts an idmapped mount before the lower directories. A view may be a
// mount of its own, as the kernel's EROFS is.
func TestMappedIDs(t *testing.T) {
	for name, own := range map[string]bool{"directory": false, "mount": true} {
		t.Run(name, func(t *testing.T) {
			client, top := lazyImage(t)
			if own {
				overmount(t, client, top)
			}
			mounts, err := client.Prepare(t.Context(), "container", top, snapshots.WithLabels(map[string]string{
				snapshots.LabelSnapshotUIDMapping: "0:100000:65536", snapshots.LabelSnapshotGIDMapping: "0:200000:65536"}))
			if err != nil {
				t.Fatal(err)
			}
			dir := mounted(t, mounts)
			wantOwner(t, filepath.Join(dir, "etc/base"), 100000, 200000)
			wantOwner(t, dir, 100012, 200034) // 12:34 is the root of all images of the twin
			if err := os.WriteFile(filepath.Join(dir, "etc/base"), []byte("changed"), 0o644); err != nil {
				t.Error(err)
			}
			wantOwner(t, filepath.Join(dir, "etc/base"), 100000, 200000)
		})
	}
}

func wantOwner(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil || stat.Uid != uid || stat.Gid != gid {
		t.Errorf("%s belongs to %d:%d, %v", path, stat.Uid, stat.Gid, err)
	}
}

// overmount makes the view of a layer a mount of its own.
func overmount(t *testing.T, client snapshots.Snapshotter, top string) {
	t.Helper()
	mounts, err := client.View(t.Context(), "where", top)
	if err != nil {
		t.Fatal(err)
	}
	view := mounts[0].Source
	if err := unix.Mount("tmpfs", view, "tmpfs", 0, "mode=0751"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(view, 0); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.Mkdir(filepath.Join(view, "etc"), 0o755), os.WriteFile(filepath.Join(view, "etc/base"), []byte("base"), 0o644),
		client.Remove(context.Background(), "where")); err != nil {
		t.Fatal(err)
	}
}
