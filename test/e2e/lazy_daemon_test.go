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
	node := s.node(t)
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
