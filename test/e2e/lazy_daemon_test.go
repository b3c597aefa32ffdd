//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// three mounts an image plainly, writably and twice, and writes into it.
func (l *lazy) three(t *testing.T, name string) (plain, writable string) {
	t.Helper()
	plain, writable = l.mount(t, name), l.mount(t, name, "--rw")
	l.mount(t, name)
	l.untilComplete(t, plain)
	command(t, nil, "sh", "-c", "echo kept > "+writable+"/written")
	return plain, writable
}

func TestLazyfsEndsOrderlyAndRemembers(t *testing.T) {
	s := startSite(t)
	node := s.node(t, with("graduation.enabled", false)) // native mounts stay
	name := s.push(t, "daemon/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "term"))
	plain, writable := node.three(t, name)
	want := listing(t, plain)
	user := must(os.Open(plain + "/bin/busybox"))(t) // it ends although somebody uses it
	defer user.Close()
	node.stop(t)
	if node.state != nil {
		t.Errorf("it ended with %v", node.state)
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/net/unix"} {
		if left := linesWith(file, node.dir, "left"); len(left) > 0 {
			t.Errorf("%s", strings.Join(left, "\n"))
		}
	}
	nothingIn(t, plain)
	nothingIn(t, writable)
	node.run(t)
	same(t, "before", want, listing(t, plain), treelist.Ignore{})
	if got := command(t, nil, "cat", writable+"/written"); got != "kept\n" {
		t.Errorf("what was written reads %q", got)
	}
	for _, m := range node.image(t, name).Mounts {
		node.unmount(t, m.Target)
	}
	nothingIn(t, node.dir+"/data/scratch")
	node.await(t, "the record's end", func(context.Context) error {
		left, err := os.ReadDir(node.dir + "/data/images")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%s is left", left[0].Name())
		}
		return err
	})
}

func TestLazyfsKilledAndStartedAgain(t *testing.T) {
	s := startSite(t)
	node := s.node(t)
	name := s.push(t, "daemon/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "kill"))
	plain, writable := node.three(t, name)
	native := node.mount(t, name, "--native")
	want := listing(t, plain)
	node.kill()
	same(t, "before", want, listing(t, native), treelist.Ignore{}) // the kernel's own goes on
	node.run(t)
	for _, dir := range []string{plain, native} {
		same(t, "before", want, listing(t, dir), treelist.Ignore{})
	}
	if got := command(t, nil, "cat", writable+"/written"); got != "kept\n" {
		t.Errorf("what was written reads %q", got)
	}
	status := node.image(t, name)
	if len(status.Mounts) != 4 {
		t.Errorf("mounts: %+v", status.Mounts)
	}
	at := map[string]int{}
	for _, line := range linesWith("/proc/self/mountinfo", node.dir+"/", "") {
		at[strings.Fields(line)[5]]++
	}
	for dir, n := range at {
		if n > 1 {
			t.Errorf("%d mounts lie over each other at %s", n, dir)
		}
	}
	for _, m := range status.Mounts {
		node.unmount(t, m.Target)
	}
	if _, err := node.tryImage(t, name); err == nil {
		t.Error("it is mounted still")
	}
	node.stop(t)
	if err := node.state; err != nil {
		t.Error(errors.Join(errors.New("at the end"), err))
	}
}

func TestLazyfsEndsThoughReadsWait(t *testing.T) {
	s := startSite(t)
	node := s.node(t, noFill())
	img, content := bigFile(t, 90, 96<<20)
	dir := node.mount(t, s.push(t, "daemon/waits:v1", img))
	r := heldReader(t, dir+"/big", content)
	s.super.kill()
	ended := make(chan error)
	go func() {
		_, err := r.rest()
		ended <- err
	}()
	node.until(t, dir, "a waiting read", waits)
	node.stop(t)
	if err := <-ended; err == nil {
		t.Error("a read of what was not here ended well")
	}
	if node.state != nil {
		t.Errorf("it ended with %v:\n%s", node.state, node.tail())
	}
	if left := linesWith("/proc/self/mountinfo", node.dir, "left"); len(left) > 0 {
		t.Errorf("%s", strings.Join(left, "\n"))
	}
}

func TestUnmountOfWhatIsInUse(t *testing.T) {
	s := startSite(t)
	node := s.node(t)
	name := s.push(t, "daemon/busy:v1", bootable(t, testimage.OCI, testimage.Gzip, "busy"))
	dir := node.mount(t, name, "--rw")
	user := must(os.Open(dir + "/bin/busybox"))(t)
	defer user.Close()
	if _, err := node.order(t, "unmount", dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("unmounting what is in use: %v", err)
	}
	if _, err := node.order(t, "unmount", "--detach", dir); err != nil {
		t.Error(err)
	}
	nothingIn(t, dir)
	first := make([]byte, 4)
	if _, err := user.ReadAt(first, 0); err == nil && string(first) != "\x7fELF" {
		t.Errorf("its user reads %q", first)
	}
	if _, err := node.order(t, "unmount", dir); err == nil {
		t.Error("what is not mounted was unmounted")
	}
}
