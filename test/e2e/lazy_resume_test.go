//go:build e2e && linux

package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/testimage"
)

// kills is how often a daemon is killed under load: make test-kills.
var kills = flag.Int("kills", 12, "how often a daemon is killed under load")

// lasting has mounts that outlive the daemon, all of them served by it.
func lasting(c settings) {
	c.put("resume.enabled", true)
	c.put("graduation.enabled", false)
	c.put("fill.enabled", false)
	c.put("fuse.ahead_max", 0) // so that something is always missing
	c.put("layer_store.enabled", false)
}

// lastingNode is a node whose mounts outlive its daemon; the test ends it with
// shutdown.
func (s *site) lastingNode(t *testing.T, edits ...edit) *lazy {
	t.Helper()
	l := newLazy(t, startPeer(t, loopback(), s.super, s.reach), append([]edit{lasting}, edits...)...)
	t.Cleanup(func() { // of a test that failed before its end
		for _, pid := range l.holders() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	l.run(t)
	if s := l.status(t).Session; !s.Resumable {
		t.Skipf("SKIP: %s", s.Why)
	}
	return l
}

// holders are the processes that hold this node's mounts.
func (l *lazy) holders() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if pid, err := strconv.Atoi(e.Name()); err == nil && strings.Contains(string(args), "hold\x00"+l.dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noHolders waits for holders that were told to end, or end by themselves.
func (l *lazy) noHolders(t *testing.T) {
	t.Helper()
	for range 200 {
		if len(l.holders()) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("holders are left: %v", l.holders())
}

// shutdown ends the daemon, after which nothing may be left.
func (l *lazy) shutdown(t *testing.T, flags ...string) {
	t.Helper()
	if _, err := l.order(t, append([]string{"shutdown"}, flags...)...); err != nil {
		t.Fatal(err)
	}
	<-l.exited
	if l.state != nil {
		t.Errorf("it ended with %v:\n%s", l.state, l.tail())
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/net/unix"} {
		if left := linesWith(file, l.dir+"/", "left"); len(left) > 0 {
			t.Errorf("%s", strings.Join(left, "\n"))
		}
	}
	l.noHolders(t)
	if _, err := os.Stat(l.dir + "/run/session"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the session is left: %v", err)
	}
}

// loaded mounts what the load needs.
func (s *site) loaded(t *testing.T, l *lazy) (root, boot string) {
	t.Helper()
	root = l.mount(t, s.push(t, "load/files:v1", imageOf(t, testimage.Zstd, loadImage(t))))
	boot = l.mount(t, s.push(t, "load/boot:v1", bootable(t, testimage.OCI, testimage.Gzip, "load")))
	command(t, nil, "cat", root+"/whole") // by which it is here
	return root, boot
}

func TestKilledDaemonIsNotNoticed(t *testing.T) {
	s := startSite(t)
	t.Run("tree", func(t *testing.T) { s.killedDaemon(t, s.lastingNode(t)).noneOpen(t, false) })
	t.Run("fuse", func(t *testing.T) { s.killedDaemon(t, s.lastingNode(t, fuseAlone())).noneOpen(t, true) })
}

func (s *site) killedDaemon(t *testing.T, node *lazy) *lazy {
	t.Helper()
	root, boot := s.loaded(t, node)
	before := node.descriptors(t)
	load := startLoad(t, root, boot)
	random := rand.New(rand.NewPCG(4, 2))
	var moments []time.Time
	for range *kills {
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		moments = append(moments, time.Now())
		node.kill()
		time.Sleep(time.Duration(random.IntN(3)*random.IntN(20)) * time.Millisecond)
		node.run(t)
	}
	tellPauses(t, "SIGKILL of lazyfs", load.end(t), moments)
	status := node.status(t)
	if status.Session.Resumes != *kills {
		t.Errorf("%d resumes of %d: %s", status.Session.Resumes, *kills, node.tail())
	}
	for _, i := range status.Images {
		if i.Errors > 0 || len(i.Waits) > 0 {
			t.Errorf("%+v", i)
		}
	}
	if after := node.descriptors(t); after > before+16 {
		t.Errorf("%d descriptors, not about %d", after, before)
	}
	t.Logf("the holder has %d MiB resident", (&process{cmd: node.cmd}).residentOf(t, node.holders()[0])>>20)
	return node
}

// residentOf is VmRSS of a process in bytes.
func (p *process) residentOf(t *testing.T, pid int) int64 {
	t.Helper()
	text := must(os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)))(t)
	pages := must(strconv.ParseInt(strings.Fields(string(text))[1], 10, 64))(t)
	return pages * int64(os.Getpagesize())
}

// descriptors counts those of the daemon, and checks that there are as many of the
// connection as there have to be.
func (l *lazy) descriptors(t *testing.T) int {
	t.Helper()
	if n := fuseDescriptors(t, l.cmd.Process.Pid); len(n) != 2 {
		t.Errorf("the daemon has %d descriptors of the connection", len(n))
	}
	if pids := l.holders(); len(pids) != 1 {
		t.Errorf("%d holders", len(pids))
	} else if n := fuseDescriptors(t, pids[0]); len(n) != 1 {
		t.Errorf("the holder has %d descriptors of the connection", len(n))
	}
	entries := must(os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid)))(t)
	return len(entries)
}

func fuseDescriptors(t *testing.T, pid int) (fds []int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	for _, e := range must(os.ReadDir(dir))(t) {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && to == "/dev/fuse" {
			fds = append(fds, must(strconv.Atoi(e.Name()))(t))
		}
	}
	return fds
}

// noneOpen waits until the table of open files is empty, in which there were some if
// passed says so; then the kernel must know of no backing id. It ends the daemon.
func (l *lazy) noneOpen(t *testing.T, passed bool) {
	t.Helper()
	const slot, backingClose = 64, 0x4004e502
	word := func(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[8*at:]) }
	var table []byte
	l.await(t, "the end of all opens", func(context.Context) error {
		table = must(os.ReadFile(l.dir + "/run/session/opens"))(t)
		for i := range int(word(table, 5)) {
			if word(table[slot*(1+i):], 0)&3 != 0 {
				return fmt.Errorf("slot %d is open", i)
			}
		}
		return nil
	})
	last := int(word(table, 3))
	if passed != (last > 0) {
		t.Errorf("%d files were in passthrough", last)
	}
	pid := must(unix.PidfdOpen(l.cmd.Process.Pid, 0))(t)
	defer unix.Close(pid)
	device := must(unix.PidfdGetfd(pid, fuseDescriptors(t, l.cmd.Process.Pid)[0], 0))(t)
	defer unix.Close(device)
	for id := 1; id <= last+3; id++ {
		if err := unix.IoctlSetPointerInt(device, backingClose, id); !errors.Is(err, unix.ENOENT) {
			t.Errorf("the backing id %d of %d was left: %v", id, last, err)
		}
	}
	l.shutdown(t)
}

func TestKilledPeerIsNotNoticed(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t, fuseAlone())
	root, boot := s.loaded(t, node)
	load := startLoad(t, root, boot)
	random := rand.New(rand.NewPCG(5, 2))
	var moments []time.Time
	for range *kills {
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		moments = append(moments, time.Now())
		node.peer.kill()
		node.peer.run(t)
	}
	tellPauses(t, "SIGKILL of peer", load.end(t), moments)
	node.noneOpen(t, true)
}

func TestUpgradeIsNotNoticed(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t)
	root, boot := s.loaded(t, node)
	if out, err := node.order(t, "serve"); err == nil || !strings.Contains(err.Error(), "--take-over") {
		t.Errorf("a second daemon said %q, %v", out, err)
	}
	load := startLoad(t, root, boot)
	var moments []time.Time
	for i := range 5 {
		old := node.process
		moments = append(moments, time.Now())
		node.process = launch(t, node.place.start, node.dir, nil, program("lazyfs"), "serve", "--take-over", "--config", node.file())
		node.await(t, "taking over", func(context.Context) error {
			out, err := node.order(t, "status", "--json")
			if err == nil && !strings.Contains(out, fmt.Sprintf(`"resumes": %d`, i+1)) {
				err = errors.New("it did not")
			}
			return err
		})
		if <-old.exited; old.state != nil {
			t.Errorf("the old daemon ended with %v", old.state)
		}
	}
	tellPauses(t, "serve --take-over", load.end(t), moments)
	node.noneOpen(t, false)
}

func TestMountsStayWhenTheDaemonEnds(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t)
	root, _ := s.loaded(t, node)
	writable := node.mount(t, node.image(t, root).Reference, "--rw")
	command(t, nil, "sh", "-c", "echo kept > "+writable+"/written")
	user := must(os.Open(root + "/whole"))(t)
	defer user.Close()
	if _, err := node.order(t, "shutdown"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("shutdown of what is in use: %v", err)
	}
	node.stop(t)
	if node.state != nil {
		t.Errorf("it ended with %v", node.state)
	}
	waiting := startReader(t, writable+"/huge")
	node.run(t)
	if n := len(waiting.first(t, 1<<20)); n != 1<<20 {
		t.Errorf("%d bytes", n)
	}
	_ = waiting.cmd.Process.Kill()
	_, _ = waiting.rest()
	if got := command(t, nil, "cat", writable+"/written"); got != "kept\n" {
		t.Errorf("what was written reads %q", got)
	}
	node.shutdown(t, "--force")
	node.run(t)
	if got := command(t, nil, "cat", writable+"/written"); got != "kept\n" {
		t.Errorf("after a shutdown, what was written reads %q", got)
	}
	for _, i := range node.status(t).Images {
		for _, m := range i.Mounts {
			node.unmount(t, m.Target)
		}
	}
	node.stop(t) // nothing is mounted, so nothing stays
	if left := linesWith("/proc/self/mountinfo", node.dir+"/", "left"); len(left) > 0 || len(node.holders()) > 0 {
		t.Errorf("%v, holders %v", left, node.holders())
	}
}

// runsAgain starts the daemon, which then has resumed so often and serves what is
// here.
func (l *lazy) runsAgain(t *testing.T, root string, resumes int) {
	t.Helper()
	l.run(t)
	if got := len(must(part(t, root+"/whole", 0, wholeSize))(t)); got != wholeSize || l.status(t).Session.Resumes != resumes {
		t.Errorf("%d bytes, %+v", got, l.status(t).Session)
	}
}

func TestHolderThatEndsIsReplaced(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t)
	root, _ := s.loaded(t, node)
	old := node.holders()[0]
	if err := unix.Kill(old, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	node.await(t, "another holder", func(context.Context) error {
		if pids := node.holders(); len(pids) != 1 || pids[0] == old {
			return fmt.Errorf("holders %v", pids)
		}
		if s := node.status(t).Session; !s.Resumable {
			return errors.New(s.Why)
		}
		return nil
	})
	node.kill()
	node.runsAgain(t, root, 1)
	node.shutdown(t)
}

// Without a daemon readers wait as long as was said, and then fail; the next start
// mounts anew.
func TestPatienceEnds(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t, with("resume.patience", "2s"))
	root, _ := s.loaded(t, node)
	node.kill()
	if out, err := startReader(t, root+"/huge").rest(); err == nil {
		t.Errorf("%d bytes were read, and nobody serves", len(out))
	}
	node.noHolders(t)
	node.runsAgain(t, root, 0)
	node.shutdown(t)
}

// What is here is served at once; the rest waits for the peer.
func TestResumedWithoutAPeer(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t)
	root, boot := s.loaded(t, node)
	node.kill()
	node.peer.kill()
	forget(t)
	node.runsAgain(t, root, 1)
	waiting := startReader(t, root+"/huge")
	node.until(t, root, "a waiting read", waits)
	node.peer.run(t)
	if out, err := waiting.rest(); err != nil || int64(len(out)) != hugeSize() {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	command(t, nil, "chroot", boot, "/bin/busybox", "true")
	node.shutdown(t)
}
