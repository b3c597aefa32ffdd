//go:build e2e && linux

package e2e

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/testimage"
)

func TestFullDiskLosesNothing(t *testing.T) {
	big := must(testimage.Random(13, 1, 64<<20))(t)
	small := must(testimage.Random(14, 1, 8<<20))(t)
	g := startGated(t, 0)
	g.push(t, "big/image:v1", big)
	g.push(t, "small/image:v1", small)
	g.Open()
	tiny := directory(t)
	if err := unix.Mount("tmpfs", tiny, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(tiny, 0); err != nil {
			t.Error(err)
		}
	})
	p := startPeer(t, loopback(), nil, g.reach(), with("data_dir", tiny+"/data"))
	client := p.puller(t, g.host())
	if err := client.pullWhole(t.Context(), "small/image", "v1", small); err != nil {
		t.Fatal(err)
	}
	// A mirror never makes a pull fail: what has no room still comes from the origin.
	if err := client.pullWhole(t.Context(), "big/image", "v1", big); err != nil {
		t.Errorf("an image larger than the disk: %v", err)
	}
	if err := client.pullWhole(t.Context(), "small/image", "v1", small); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	p.stop(t)
	if _, err := os.Stat(tiny + "/data"); err != nil {
		t.Error(err)
	}
	p.run(t)
	if err := client.pullWhole(t.Context(), "small/image", "v1", small); err != nil {
		t.Errorf("after a restart on the full disk: %v", err)
	}
	p.stop(t)
}
