//go:build linux

package lazyfs

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/nodeapi"
)

// An image that is only held keeps no one from ending the daemon; what stands on
// it does.
func TestShutdownIsRefusedForContainersAlone(t *testing.T) {
	bothViews(t, testShutdownIsRefusedForContainersAlone, 2<<20)
}

func testShutdownIsRefusedForContainersAlone(w *world) {
	t := w.T
	w.image.DiffIDs = layers(1)
	w.start(false)
	w.hold("a")
	lower := w.lower("a")
	if used, err := w.daemon.inUse(true); err != nil || len(used) > 0 {
		t.Errorf("in use: %q, %v", used, err)
	}
	for name, mount := range map[string]func(at string) error{
		"bind": func(at string) error { return unix.Mount(lower, at, "", unix.MS_BIND, "") },
		"overlay": func(at string) error {
			return unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+lower+":"+w.mkdir("other"))
		},
	} {
		at := w.mkdir(name)
		if err := mount(at); err != nil {
			t.Fatal(err)
		}
		used, err := w.daemon.inUse(false)
		if err != nil || !slices.ContainsFunc(used, func(one string) bool { return strings.HasSuffix(one, "by "+at) }) {
			t.Errorf("%s: in use: %q, %v", name, used, err)
		}
		if err := w.daemon.Shutdown(ShutdownOrder{}); err == nil {
			t.Errorf("%s: it ends", name)
		}
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	}
	if err := w.daemon.Shutdown(ShutdownOrder{}); err != nil {
		t.Error(err)
	}
}

func TestHasLower(t *testing.T) {
	for options, want := range map[string]bool{
		"ro,lowerdir=/run/l/images/ab,upperdir=/x": true,
		"rw,lowerdir=/v/1/fs:/run/l/images/ab":     true,
		"rw,lowerdir+=/run/l/images/ab":            true,
		"rw,lowerdir=snapshots/1/fs:images/ab":     true,
		"rw,lowerdir=/run/l/images/abc":            false,
		"rw,upperdir=/run/l/images/ab":             false,
		"":                                         false,
	} {
		if got := hasLower(options, "/run/l/images/ab"); got != want {
			t.Errorf("%q: %v", options, got)
		}
	}
}

// Layers are named once an image, however many there are.
func TestLayersInUseAreCounted(t *testing.T) {
	d := &Daemon{}
	for i := range 3 {
		layer := layers(i + 1)[i]
		d.waiting = append(d.waiting, &Record{Users: []string{"u"}, Image: &nodeapi.Image{Reference: "r/app:1", Layer: &layer}})
	}
	if used, err := d.inUse(false); err != nil || len(used) != 1 || !strings.HasPrefix(used[0], "3 layers of r/app:1") {
		t.Errorf("in use: %q, %v", used, err)
	}
}
