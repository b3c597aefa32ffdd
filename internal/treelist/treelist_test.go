//go:build linux

package treelist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	RunIfChild()
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes one of everything that needs no privilege.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	in := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Mkdir(in("d"), 0o755))
	must(t, os.WriteFile(in("d/f"), []byte("content"), 0o640))
	must(t, os.Link(in("d/f"), in("d/g")))
	must(t, os.WriteFile(in("not-\xff-utf8\n"), nil, 0o600))
	must(t, os.Symlink("nowhere/"+strings.Repeat("x", 3000), in("link")))
	must(t, unix.Mkfifo(in("fifo"), 0o600))
	when := time.Unix(-86400, 123456789)
	must(t, os.Chtimes(in("d/f"), when, when))
	must(t, os.Chtimes(in("d"), when, when))
	return root
}

func list(t *testing.T, root string) []Entry {
	t.Helper()
	all, err := List(t.Context(), root, Options{})
	must(t, err)
	return all
}

func TestListTellsEverything(t *testing.T) {
	all := list(t, tree(t))
	var paths []string
	byPath := map[Name]Entry{}
	for _, e := range all {
		paths = append(paths, string(e.Path))
		byPath[e.Path] = e
	}
	want := []string{".", "d", "d/f", "d/g", "fifo", "link", "not-\xff-utf8\n"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Fatalf("paths (-want +got):\n%s", diff)
	}
	f, g := byPath["d/f"], byPath["d/g"]
	if f.First != "" || g.First != "d/f" || f.Nlink != 2 || f.Sum != g.Sum || f.Sum == (Sum{}) {
		t.Errorf("hard links: %+v, %+v", f, g)
	}
	if f.Sec != -86400 || f.Nsec != 123456789 || f.Size != 7 {
		t.Errorf("time %d.%d, size %d", f.Sec, f.Nsec, f.Size)
	}
	if len(byPath["link"].Target) != 3008 {
		t.Errorf("target of %d bytes", len(byPath["link"].Target))
	}
	if byPath["fifo"].kind() != "fifo" || byPath["d"].Size != 0 {
		t.Error("a fifo's type or a directory's size is wrong")
	}
}

func TestAChildListsTheSame(t *testing.T) {
	root := tree(t)
	if err := unix.Lsetxattr(root+"/d/f", "user.\xff\"", []byte("\x00\xff"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	apart, err := ListApart(t.Context(), root, Options{})
	must(t, err)
	if diff := cmp.Diff(list(t, root), apart); diff != "" {
		t.Errorf("in this process and in a child (-here +there):\n%s", diff)
	}
}

func TestListingWhatIsNotThereFails(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := List(t.Context(), missing, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := ListApart(t.Context(), missing, Options{}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a child: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := List(ended, t.TempDir(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDiffSeesEachDifference(t *testing.T) {
	for what, change := range map[string]func(root string) error{
		"missing file":          func(r string) error { return os.Remove(r + "/d/g") },
		"should not be there":   func(r string) error { return os.WriteFile(r+"/more", nil, 0o600) },
		"mode is":               func(r string) error { return os.Chmod(r+"/d/f", 0o4755) },
		"content is":            func(r string) error { return os.WriteFile(r+"/d/f", []byte("CONTENT"), 0o640) },
		"size is":               func(r string) error { return os.Truncate(r+"/d/f", 8) },
		"mtime is":              func(r string) error { return os.Chtimes(r+"/d/f", time.Unix(1, 0), time.Unix(1, 1)) },
		"instead of a fifo":     func(r string) error { return errors.Join(os.Remove(r+"/fifo"), os.Mkdir(r+"/fifo", 0o700)) },
		"first name":            func(r string) error { return errors.Join(os.Remove(r+"/d/g"), os.Link(r+"/d/f", r+"/fifo2")) },
		"number of links is 3":  func(r string) error { return os.Link(r+"/d/f", r+"/third") },
		"target is":             func(r string) error { return errors.Join(os.Remove(r+"/link"), os.Symlink("x", r+"/link")) },
		"\"user.a\" is missing": func(r string) error { return nil },
	} {
		root := tree(t)
		must(t, os.Link(root+"/link", root+"/link2"))
		if err := unix.Lsetxattr(root+"/d/f", "user.a", []byte("1"), 0); errors.Is(err, unix.ENOTSUP) {
			t.Skip("SKIP: no user extended attributes in the temporary directory")
		}
		before := list(t, root)
		if what == "\"user.a\" is missing" {
			must(t, unix.Lremovexattr(root+"/d/f", "user.a"))
		}
		must(t, change(root))
		after := list(t, root)
		lines := strings.Join(Diff(before, after, Ignore{}), "\n")
		want := what
		if what == "first name" {
			want = "\"fifo2\": a file that should not be there"
		}
		if !strings.Contains(lines, want) {
			t.Errorf("%s: the differences are\n%s", what, lines)
		}
		if lines := Diff(after, after, Ignore{}); len(lines) != 0 {
			t.Errorf("a listing differs from itself: %q", lines)
		}
	}
}

func TestDiffLeavesOutWhatItIsTold(t *testing.T) {
	start := time.Unix(1000, 0)
	want := []Entry{
		{Path: ".", Mode: typeDir | 0o700, Sec: 5},
		{Path: "a", Mode: typeDir | 0o755, Sec: 1000, Nlink: 2, Xattrs: map[Name]Name{"trusted.x": "1"}},
		{Path: "f", Mode: typeFile | 0o644, Nlink: 2},
	}
	got := []Entry{
		{Path: ".", Mode: typeDir | 0o755},
		{Path: "a", Mode: typeDir | 0o755, Nlink: 1},
		{Path: "f", Mode: typeFile | 0o644, Nlink: 1},
	}
	all := Ignore{Unpacked: start, DirNlink: true, Nlink: true, Root: true, Xattrs: func(n string) bool { return n == "trusted.x" }}
	if lines := Diff(want, got, all); len(lines) != 0 {
		t.Errorf("with everything ignored: %q", lines)
	}
	if lines := Diff(want, got, Ignore{}); len(lines) != 6 {
		t.Errorf("with nothing ignored %d lines: %q", len(lines), lines)
	}
	if lines := Diff(want, got, Ignore{Max: 1}); len(lines) != 2 || lines[1] != "and 5 more differences" {
		t.Errorf("bounded to one line: %q", lines)
	}
}
