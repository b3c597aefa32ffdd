//go:build linux

package fuse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// lives is a mount that child processes serve one after another, while the test
// keeps its descriptor.
type lives struct {
	t      *testing.T
	dir    string // the mount
	state  string // what the children share
	device *os.File
	cmd    *exec.Cmd
	ended  chan struct{}
}

const (
	livesImage = 7
	dieAt      = "SHOAL_FUSE_TEST_DIE_AT"
)

// newLives begins the first life, of a file system with the image "img".
func newLives(t *testing.T, tr *tree, env ...string) *lives {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	top := t.TempDir()
	l := &lives{t: t, dir: top + "/mount", state: top + "/state"}
	if err := errors.Join(os.Mkdir(l.dir, 0o755), os.Mkdir(l.state, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.state+"/tree", tr.bytes(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range tr.objects {
		if err := os.WriteFile(filepath.Join(l.state, chunk.SumBytes(o).Hex()), o, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.live(env...)
	if s := l.session(); !s.Resumable() {
		l.end()
		t.Skip("SKIP: this kernel cannot repeat requests (Linux 6.9)")
	}
	t.Cleanup(l.end)
	return l
}

// live begins a life, and waits until it serves.
func (l *lives) live(env ...string) {
	l.t.Helper()
	// It serves on when the test has ended: end waits for what the kernel says then.
	l.cmd = childUntil(context.Background(), "serve", l.dir, l.state)
	l.cmd.Env = append(l.cmd.Env, env...)
	l.cmd.Stderr = os.Stderr
	if l.device != nil {
		l.cmd.ExtraFiles = []*os.File{l.device}
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		l.t.Fatalf("the server said %q: %v, %v", line, err, l.cmd.Wait())
	}
	cmd, ended := l.cmd, make(chan struct{})
	l.ended = ended
	if l.device == nil {
		l.take(strings.TrimSpace(line))
	}
	go func() {
		cmd.Wait()
		close(ended)
	}()
}

// take copies the child's descriptor of the connection.
func (l *lives) take(number string) {
	l.t.Helper()
	fd, err := strconv.Atoi(number)
	if err != nil {
		l.t.Fatal(err)
	}
	process, err := unix.PidfdOpen(l.cmd.Process.Pid, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer unix.Close(process)
	mine, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	unix.CloseOnExec(mine)
	l.device = os.NewFile(uintptr(mine), "/dev/fuse")
}

func (l *lives) kill() {
	l.cmd.Process.Kill()
	<-l.ended
}

// died waits for a life to end by itself.
func (l *lives) died() {
	l.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(20 * time.Second):
		l.t.Fatal("the server did not come to the step")
	}
}

func (l *lives) session() (s Session) {
	l.t.Helper()
	text, err := os.ReadFile(l.state + "/session")
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// end unmounts, and checks that no backing id was left registered.
func (l *lives) end() {
	if l.device == nil {
		return
	}
	defer func() {
		if err := unix.Unmount(l.dir, unix.MNT_DETACH); err != nil {
			l.t.Error(err)
		}
		l.kill()
		l.device.Close()
		l.device = nil
	}()
	if !l.t.Failed() {
		l.noneLeft()
	}
}

// noneLeft waits for the table to become empty, upon which the kernel must know of
// no backing id any more.
func (l *lives) noneLeft() {
	l.t.Helper()
	table, err := loadOpens(l.state + "/opens")
	if err != nil {
		l.t.Error(err)
		return
	}
	defer table.close()
	waitFor(l.t, func() bool {
		for range table.used {
			return false
		}
		return table.intended() == 0
	})
	for id := range int(table.words[headLast]) + 3 {
		if err := closeBacking(l.device, int32(id+1)); !errors.Is(err, unix.ENOENT) {
			l.t.Errorf("the backing id %d was left: %v", id+1, err)
		}
	}
}

// childServe serves a mount until it is killed: a new one, or that of descriptor 3.
func childServe(args []string) (any, error) {
	dir, state := args[0], args[1]
	b, err := os.ReadFile(state + "/tree")
	if err != nil {
		return nil, err
	}
	im, err := erofs.Open(b)
	if err != nil {
		return nil, err
	}
	cfg := Default()
	cfg.Passthrough = os.Getenv("SHOAL_FUSE_TEST_COPY") == ""
	f, err := New(cfg, quiet(), nil)
	if err != nil {
		return nil, err
	}
	if step := os.Getenv(dieAt); step != "" {
		f.backings.step = func(at string) {
			if at == step {
				unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
		}
	}
	if os.Getenv("SHOAL_FUSE_TEST_LATE") == "" {
		_, err = f.Add(livesImage, "img", im, files(state))
	} else {
		f.Expect(livesImage, "img")
		time.AfterFunc(300*time.Millisecond, func() { f.Add(livesImage, "img", im, files(state)) })
	}
	if err != nil {
		return nil, err
	}
	fd, err := mountOrResume(f, dir, state)
	if err != nil {
		return nil, err
	}
	fmt.Println(fd)
	return nil, f.Serve()
}

func mountOrResume(f *FS, dir, state string) (fd int, err error) {
	text, err := os.ReadFile(state + "/session")
	if err == nil {
		var s Session
		if err := json.Unmarshal(text, &s); err != nil {
			return 0, err
		}
		unix.CloseOnExec(3)
		return 3, f.Resume(s, os.NewFile(3, "/dev/fuse"), state+"/opens")
	}
	if err := f.MountKept(dir, state+"/opens"); err != nil {
		return 0, err
	}
	s, _ := f.Session()
	text, err = json.Marshal(s)
	return int(f.conn.device.Fd()), errors.Join(err, os.WriteFile(state+"/session", text, 0o600))
}

// files has complete objects in a directory; those beside which a file "held" is
// are missing as long as it is there.
type files string

func (d files) Open(object chunk.Digest, _ int64) (Object, error) {
	f, err := os.Open(filepath.Join(string(d), object.Hex()))
	return &fileObject{f}, err
}

type fileObject struct{ file *os.File }

func (o *fileObject) File() *os.File            { return o.file }
func (o *fileObject) Present(int64, int64) bool { return o.Complete() }
func (o *fileObject) Ahead(int64, int64)        {}
func (o *fileObject) Close() error              { return o.file.Close() }
func (o *fileObject) Complete() bool {
	_, err := os.Stat(o.file.Name() + ".held")
	return errors.Is(err, fs.ErrNotExist)
}

func (o *fileObject) Fetch(ctx context.Context, _, _ int64) error {
	for !o.Complete() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// childLoop opens, reads and closes files until it is told to end; it fails at the
// first error or wrong byte. args are pairs of path and sum.
func childLoop(args []string) (any, error) {
	told := make(chan struct{})
	go func() {
		os.Stdin.Read(make([]byte, 1))
		close(told)
	}()
	for round := 0; ; round++ {
		select {
		case <-told:
			return round, nil
		default:
		}
		at := round % (len(args) / 2) * 2
		sum, err := sumOf(args[at])
		if err != nil {
			return nil, err
		}
		if sum != args[at+1] {
			return nil, fmt.Errorf("%s has wrong content", args[at])
		}
		if err := dropPages(args[at]); err != nil {
			return nil, err
		}
	}
}

// dropPages has reads go to the server again.
func dropPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
