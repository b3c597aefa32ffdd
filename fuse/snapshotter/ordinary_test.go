//go:build linux

package snapshotter_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/shoal-project/shoal/fuse/snapshotter"
)

// mount mounts what the snapshotter said.
func mount(t *testing.T, mounts []*types.Mount) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	dir := t.TempDir()
	m := mounts[0]
	var err error
	if m.Type == "bind" {
		err = unix.Mount(m.Source, dir, "", unix.MS_BIND|unix.MS_REC, "")
		if err == nil && slices.Contains(m.Options, "ro") {
			err = unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	} else {
		err = unix.Mount(m.Source, dir, m.Type, 0, strings.Join(m.Options, ","))
	}
	if err != nil {
		t.Fatalf("mounting %v: %v", m, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantFiles compares a tree's files, as "path=text".
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		got = append(got, name+"="+string(text))
		return err
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("files %q, %v, want %q", got, err, want)
	}
}

// A container on a lazy image is written to, committed, and run again; another
// image has unpacked layers on it.
func TestLayersOnAView(t *testing.T) {
	w := newWorld(t)
	top := chainOf(w.three())[2]
	w.pull(w.three(), nil)
	dir := mount(t, w.must("container", top, nil))
	write(t, filepath.Join(dir, "etc/top"), "changed")
	write(t, filepath.Join(dir, "new"), "new")
	if err := os.Remove(filepath.Join(dir, "bin/sh")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	w.commit("first", "container", nil)
	dir = mount(t, w.must("second container", "first", nil))
	want := []string{"etc/base=base", "etc/middle=middle", "etc/top=changed", "new=new"}
	wantFiles(t, dir, want...)
	write(t, filepath.Join(dir, "again"), "again")
	w.commit("second", "second container", nil)
	w.restart()
	r, err := w.client.View(t.Context(), &api.ViewSnapshotRequest{Key: "view", Parent: "second"})
	if err != nil {
		t.Fatal(err)
	}
	lowers := strings.Split(option(t, r.Mounts, "lowerdir"), ":")
	for _, lower := range lowers {
		if filepath.Dir(filepath.Dir(lower)) != filepath.Join(w.root(), "snapshots") {
			t.Errorf("lower directory %s is not among the snapshots", lower)
		}
	}
	wantFiles(t, mount(t, r.Mounts), append([]string{"again=again"}, want...)...)
	if r, err = w.client.View(t.Context(), &api.ViewSnapshotRequest{Key: "view of the image", Parent: top}); err != nil {
		t.Fatal(err)
	}
	dir = mount(t, r.Mounts)
	wantFiles(t, dir, "bin/sh=sh", "etc/base=base", "etc/middle=middle", "etc/top=top")
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err == nil {
		t.Error("a view can be written to")
	}
	for _, key := range []string{"view of the image", "view", "second", "first"} {
		w.remove(key)
	}
}

func TestCodes(t *testing.T) {
	w := newWorld(t)
	w.must("active", "", nil)
	w.must("other", "", nil)
	w.must("third", "", nil)
	w.must("base", "", nil)
	w.commit("committed", "base", nil)
	if _, err := w.client.View(t.Context(), &api.ViewSnapshotRequest{Key: "view", Parent: "committed"}); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	prepare := func(key, parent string) func() error {
		return func() error { _, err := w.prepare(key, parent, nil); return err }
	}
	commit := func(name, key, parent string) func() error {
		return func() error {
			_, err := w.client.Commit(ctx, &api.CommitSnapshotRequest{Name: name, Key: key, Parent: parent})
			return err
		}
	}
	remove := func(key string) func() error {
		return func() error { _, err := w.client.Remove(ctx, &api.RemoveSnapshotRequest{Key: key}); return err }
	}
	mounts := func(key string) func() error {
		return func() error { _, err := w.client.Mounts(ctx, &api.MountsRequest{Key: key}); return err }
	}
	for name, c := range map[string]struct {
		do   func() error
		want codes.Code
	}{
		"prepare without a name":     {prepare("", ""), codes.InvalidArgument},
		"prepare with a long name":   {prepare(strings.Repeat("x", 40000), ""), codes.InvalidArgument},
		"prepare again":              {prepare("active", ""), codes.AlreadyExists},
		"prepare as committed":       {prepare("committed", ""), codes.AlreadyExists},
		"prepare on nothing":         {prepare("new", "none"), codes.NotFound},
		"prepare on active":          {prepare("new", "active"), codes.InvalidArgument},
		"commit nothing":             {commit("new", "none", ""), codes.NotFound},
		"commit as there is":         {commit("committed", "active", ""), codes.AlreadyExists},
		"commit committed":           {commit("new", "committed", ""), codes.FailedPrecondition},
		"commit view":                {commit("new", "view", ""), codes.FailedPrecondition},
		"commit on nothing":          {commit("new", "other", "none"), codes.NotFound},
		"remove nothing":             {remove("none"), codes.NotFound},
		"remove with others on it":   {remove("committed"), codes.FailedPrecondition},
		"mounts of nothing":          {mounts("none"), codes.NotFound},
		"mounts of committed":        {mounts("committed"), codes.FailedPrecondition},
		"stat nothing":               {func() error { _, err := w.client.Stat(ctx, &api.StatSnapshotRequest{Key: "none"}); return err }, codes.NotFound},
		"usage of nothing":           {func() error { _, err := w.client.Usage(ctx, &api.UsageRequest{Key: "none"}); return err }, codes.NotFound},
		"update nothing":             {func() error { _, err := w.update("none", nil); return err }, codes.NotFound},
		"update what cannot change":  {func() error { _, err := w.update("active", nil, "kind"); return err }, codes.InvalidArgument},
		"prepare with a bad mapping": {func() error { _, err := w.prepare("new", "", map[string]string{labelUIDs: "x"}); return err }, codes.InvalidArgument},
		"cleanup":                    {func() error { _, err := w.client.Cleanup(ctx, &api.CleanupRequest{}); return err }, codes.OK},
		"commit on another":          {commit("rebased", "third", "committed"), codes.OK},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, name, c.do(), c.want) })
	}
	if names := w.list("parent==committed"); !slices.Equal(names, []string{"rebased", "view"}) {
		t.Errorf("on the committed one: %q", names)
	}
}

func (w *world) update(name string, labels map[string]string, paths ...string) (map[string]string, error) {
	r, err := w.client.Update(w.t.Context(), &api.UpdateSnapshotRequest{
		Info: &api.Info{Name: name, Labels: labels}, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	return r.GetInfo().GetLabels(), err
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.must("s", "", map[string]string{"a": "1", "b": "2"})
	for i, step := range []struct {
		labels map[string]string
		paths  []string
		want   string
	}{
		{map[string]string{"a": "3", "c": "4"}, []string{"labels.a"}, "a=3 b=2"},
		{map[string]string{"d.e": "5"}, []string{"labels.d.e", "labels.b"}, "a=3 d.e=5"},
		{map[string]string{"f": "6"}, []string{"labels"}, "f=6"},
		{map[string]string{"g": "7", "h": ""}, nil, "g=7"},
	} {
		if _, err := w.update("s", step.labels, step.paths...); err != nil {
			t.Fatal(err)
		}
		r, err := w.client.Stat(t.Context(), &api.StatSnapshotRequest{Key: "s"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name, value := range r.Info.Labels {
			got = append(got, name+"="+value)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	upper := w.must("s", "", nil)[0].Source
	write(t, filepath.Join(upper, "file"), strings.Repeat("x", 100_000))
	if err := os.Link(filepath.Join(upper, "file"), filepath.Join(upper, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(upper, "sparse"), 1<<30); err == nil {
		t.Error("truncating nothing")
	}
	write(t, filepath.Join(upper, "sparse"), "")
	if err := os.Truncate(filepath.Join(upper, "sparse"), 1<<30); err != nil {
		t.Fatal(err)
	}
	bytes, inodes := w.usage("s")
	if inodes != 3 || bytes < 100_000 || bytes > 200_000 {
		t.Errorf("%d bytes, %d inodes", bytes, inodes)
	}
	w.commit("c", "s", nil)
	if b, i := w.usage("c"); b != bytes || i != inodes {
		t.Errorf("committed: %d bytes, %d inodes", b, i)
	}
	if _, err := w.client.View(t.Context(), &api.ViewSnapshotRequest{Key: "v", Parent: "c"}); err != nil {
		t.Fatal(err)
	}
	if b, i := w.usage("v"); b != 0 || i != 0 {
		t.Errorf("a view: %d bytes, %d inodes", b, i)
	}
}

// Directories that nothing refers to go, at the start and when asked.
func TestCleanup(t *testing.T) {
	w := newWorld(t)
	upper := w.must("s", "", nil)[0].Source
	litter := filepath.Join(w.root(), "snapshots", "4711", "fs", "deep")
	for _, clean := range []func(){
		w.restart,
		func() {
			if _, err := w.client.Cleanup(t.Context(), &api.CleanupRequest{}); err != nil {
				t.Error(err)
			}
		},
	} {
		if err := os.MkdirAll(litter, 0o755); err != nil {
			t.Fatal(err)
		}
		clean()
		if _, err := os.Stat(litter); !os.IsNotExist(err) {
			t.Errorf("the litter: %v", err)
		}
		if _, err := os.Stat(upper); err != nil {
			t.Errorf("the snapshot: %v", err)
		}
	}
	w.remove("s")
	if _, err := os.Stat(upper); !os.IsNotExist(err) {
		t.Errorf("the removed snapshot: %v", err)
	}
}

const (
	labelUIDs = "containerd.io/snapshot/uidmapping"
	labelGIDs = "containerd.io/snapshot/gidmapping"
)

func TestMappedIDs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIP: giving files away needs root")
	}
	w := newWorld(t)
	w.pull(w.three(), nil)
	labels := map[string]string{labelUIDs: "5:7:1,0:100000:65536", labelGIDs: "0:200000:65536"}
	mounts := w.must("lazy", chainOf(w.three())[2], labels)
	if option(t, mounts, "uidmap") != labels[labelUIDs] || option(t, mounts, "gidmap") != labels[labelGIDs] {
		t.Errorf("mounts %v", mounts)
	}
	if lower := option(t, mounts, "lowerdir"); !strings.HasSuffix(lower, "/.") {
		t.Errorf("the view %s would be left out where its parent directory is mapped", lower)
	}
	wantOwner(t, option(t, mounts, "upperdir"), 100012, 200034, 0o751)
	mounts = w.must("empty", "", labels)
	wantOwner(t, mounts[0].Source, 100000, 200000, 0o755)
	w.commit("mapped", "empty", nil)
	wantOwner(t, option(t, w.must("on it", "mapped", nil), "upperdir"), 100000, 200000, 0o755)
	wantOwner(t, option(t, w.must("unpacked", chainOf(w.three())[2], nil), "upperdir"), 12, 34, 0o751)
	w.commit("on lazy", "unpacked", nil)
	wantOwner(t, option(t, w.must("on that", "on lazy", nil), "upperdir"), 12, 34, 0o751)
	_, err := w.prepare("mixed", "on lazy", labels)
	wantCode(t, "unpacked on lazy", err, codes.FailedPrecondition)
}

func wantOwner(t *testing.T, path string, uid, gid, mode uint32) {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Lstat(path, &stat); err != nil || stat.Uid != uid || stat.Gid != gid || stat.Mode&0o7777 != mode {
		t.Errorf("%s belongs to %d:%d, with mode %o, %v", path, stat.Uid, stat.Gid, stat.Mode, err)
	}
}

func TestDamagedDatabase(t *testing.T) {
	w := newWorld(t)
	w.must("s", "", nil)
	w.stop()
	w.stop = func() {}
	file := filepath.Join(w.root(), "metadata.db")
	if err := os.WriteFile(file, []byte(strings.Repeat("damaged", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := snapshotter.New(snapshotter.Config{Root: w.root()}, w.images, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("opening a damaged database: %v", err)
	}
}

// What mount options cannot carry is refused at once.
func TestRootDirectory(t *testing.T) {
	w := newWorld(t)
	for _, root := range []string{"", "relative", t.TempDir() + "/a:b", t.TempDir() + "/a,b"} {
		if _, err := snapshotter.New(snapshotter.Config{Root: root}, w.images, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
			t.Errorf("snapshots are kept in %q", root)
		}
	}
}
