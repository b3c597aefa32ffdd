//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/testimage"
)

// release is an image of one layer, of which each version changes one file.
func release(version byte) []testimage.Entry {
	entries := []testimage.Entry{testimage.File("large", 0o644, noise(50, 24<<20)), testimage.Dir("d", 0o755)}
	for i := range 400 {
		content := noise(60+uint64(i), 30_000)
		if i == 200 {
			content[0] = version
		}
		entries = append(entries, testimage.File(fmt.Sprintf("d/%03d", i), 0o644, content))
	}
	return entries
}

func TestUpgradeMovesOnlyWhatChanged(t *testing.T) {
	s := startSite(t)
	node := s.node(t)
	first := node.mount(t, s.push(t, "app/image:v1", imageOf(t, testimage.Gzip, release(1))))
	node.untilComplete(t, first)
	second := node.mount(t, s.push(t, "app/image:v2", imageOf(t, testimage.Gzip, release(2))))
	node.untilComplete(t, second)
	status := node.image(t, second)
	if status.Fetched == 0 || status.Fetched > 5<<20 {
		t.Errorf("the second version of %d bytes moved %d, want a pack or two", status.Bytes, status.Fetched)
	}
	for i, dir := range []string{first, second} {
		want := noise(260, 30_000)
		want[0] = byte(i + 1)
		if got := must(part(t, dir+"/d/200", 0, 30_000))(t); !bytes.Equal(got, want) {
			t.Errorf("version %d has other content", i+1)
		}
	}
	node.unmount(t, first)
	forget(t)
	if got := must(part(t, second+"/large", 0, 24<<20))(t); !bytes.Equal(got, noise(50, 24<<20)) {
		t.Error("without the first version the second has other content")
	}
}

func TestNodeAloneMounts(t *testing.T) {
	s := startOrigins(t)
	p := startPeer(t, loopback(), nil, s.reach())
	node := startLazy(t, p)
	img := bootable(t, testimage.Docker, testimage.Gzip, "alone")
	s.push(t, "alone/boot:v1", img)
	dir := node.mount(t, s.public.Host()+"/alone/boot:v1", "--wait")
	if status := node.image(t, dir); status.State != lazyfs.StateComplete {
		t.Errorf("state %s", status.State)
	}
	if out := command(t, nil, "chroot", dir, "/bin/busybox", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
}

func TestPrivateImageNeedsItsCredentials(t *testing.T) {
	s := startOrigins(t)
	super := startSupernode(t, loopback(), distribution.ModeSupernode, s.reach())
	owner := startLazy(t, startPeer(t, loopback(), super, s.reach()), noFill())
	content := noise(70, 9<<20)
	s.push(t, "secret/image:v1", imageOf(t, testimage.Gzip, []testimage.Entry{testimage.File("f", 0o600, content)}))
	name := s.private.Host() + "/secret/image:v1"
	asUser := func(l *lazy, pass string) (string, error) {
		dir := directory(t)
		cmd := exec.CommandContext(t.Context(), program("lazyfs"), "--config", l.file(), "mount", "-q",
			"--username", userName, "--password-stdin", name, dir)
		cmd.Stdin = strings.NewReader(pass)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return dir, err
	}
	dir := must(asUser(owner, password))(t)
	got, err := startReader(t, dir+"/f").rest()
	rightly(t, got, content, 0)
	if err != nil || len(got) != len(content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	stranger := startLazy(t, startPeer(t, loopback(), super, s.reach()))
	if _, err := stranger.tryMount(t, name); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without credentials: %v", err)
	}
	if _, err := asUser(stranger, "wrong"); err == nil {
		t.Error("a wrong password was accepted")
	}
	for _, l := range []*lazy{owner, stranger} {
		for _, file := range []string{l.log, l.peer.log, super.log} {
			if out, err := try(t, nil, "grep", "-cF", password, file); err == nil {
				t.Errorf("the password is in %s %s times", file, out)
			}
		}
		if out, err := try(t, nil, "grep", "-rlF", password, l.dir+"/data", l.peer.dir+"/data/peer"); err == nil {
			t.Errorf("the password is on the disk: %s", out)
		}
	}
	owner.unmount(t, dir)
}

func TestStoreWithoutRoomIsTold(t *testing.T) {
	s := startSite(t)
	node := startLazy(t, startPeer(t, loopback(), s.super, s.reach, with("store.quota", "16MiB")), with("fuse.deadline", "6s"))
	img, content := bigFile(t, 80, 64<<20)
	dir := node.mount(t, s.push(t, "full/image:v1", img))
	got, err := startReader(t, dir+"/big").rest()
	rightly(t, got, content, 0)
	if err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := try(t, nil, "grep", "-q", "store is full", node.log); err != nil {
		t.Errorf("the reason is not told:\n%s", node.tail())
	}
}
