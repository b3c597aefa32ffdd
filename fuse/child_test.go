//go:build linux

package fuse

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const childEnv = "SHOAL_FUSE_TEST_CHILD"

// runChild is the main function of a child. What it finds it prints as JSON.
func runChild(name string, args []string) int {
	children := map[string]func([]string) (any, error){
		"walk": childWalk, "names": childNames, "sum": childSum, "hold": childHold, "seekdir": childSeekdir,
		"mmap": childMmap, "runs": childRuns, "change": childChange, "direct": childDirect, "hello": childHello,
		"exec": childExec, "storm": childStorm, "signals": childSignals, "errno": childErrno, "overlay": childOverlay,
		"statfs": childStatfs, "twice": childTwice, "handle": childHandle, "access": childAccess,
		"mapped": childMapped, "kerneltree": childKernelTree, "serve": childServe, "loop": childLoop, "crowd": childCrowd,
	}
	out, err := children[name](args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if out != nil {
		json.NewEncoder(os.Stdout).Encode(out)
	}
	return 0
}

// found is what stat, the content and the attributes of a file are.
type found struct {
	Mode, UID, GID   uint32
	Nlink, Ino, Rdev uint64
	Size, Sec, Nsec  int64
	Blocks           int64
	Target, Sum      string
	Xattrs           map[string]string
	Atime, Ctime     bool // the same as the modification time
}

func childWalk(args []string) (any, error) {
	all := map[string]found{}
	err := filepath.WalkDir(args[0], func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := lookAt(path)
		all[strings.TrimPrefix(strings.TrimPrefix(path, args[0]), "/")] = f
		return err
	})
	return all, err
}

func lookAt(path string) (f found, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return f, err
	}
	f = found{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, Ino: st.Ino, Rdev: st.Rdev,
		Nlink: uint64(st.Nlink), //nolint:unconvert // 32 bits on arm64
		Size:  st.Size, Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec, Blocks: st.Blocks,
		Atime: st.Atim == st.Mtim, Ctime: st.Ctim == st.Mtim, Xattrs: map[string]string{},
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if f.Target, err = os.Readlink(path); err != nil {
			return f, err
		}
	case unix.S_IFREG:
		if f.Sum, err = sumOf(path); err != nil {
			return f, err
		}
	}
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		return f, fmt.Errorf("listxattr %s: %w", path, err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return f, fmt.Errorf("getxattr %s %s: %w", path, name, err)
		}
		f.Xattrs[name] = hex.EncodeToString(value[:n])
	}
	return f, nil
}

func sumOf(path string) (string, error) {
	b, err := os.ReadFile(path)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

func childSum(args []string) (any, error) {
	sums := map[string]string{}
	for _, path := range args {
		s, err := sumOf(path)
		if err != nil {
			return nil, err
		}
		sums[path] = s
	}
	return sums, nil
}

func childNames(args []string) (any, error) {
	entries, err := os.ReadDir(args[0])
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// childHold keeps a file open, says so, and waits to be told to end.
func childHold(args []string) (any, error) {
	f, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fmt.Println("open")
	os.Stdin.Read(make([]byte, 1))
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		if err != nil || n == 0 {
			break
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// entry is a directory entry with the offset after it.
type entry struct {
	Name string
	Off  int64
}

func dirents(fd int) ([]entry, error) {
	buf := make([]byte, 4096)
	n, err := unix.Getdents(fd, buf)
	if err != nil {
		return nil, err
	}
	var all []entry
	for b := buf[:n]; len(b) > 0; {
		size := int(b[16]) | int(b[17])<<8
		off := int64(0)
		for i := range 8 {
			off |= int64(b[8+i]) << (8 * i)
		}
		name, _, _ := strings.Cut(string(b[19:size]), "\x00")
		all = append(all, entry{name, off})
		b = b[size:]
	}
	return all, nil
}

// childSeekdir lists a directory once in order, then again from many offsets, and
// says how many names there are.
func childSeekdir(args []string) (any, error) {
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var all []entry
	for {
		some, err := dirents(fd)
		if err != nil {
			return nil, err
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	for i := len(all) - 2; i > 0; i -= max(1, len(all)/500) {
		if _, err := unix.Seek(fd, all[i].Off, 0); err != nil {
			return nil, err
		}
		some, err := dirents(fd)
		if err != nil || len(some) == 0 || some[0] != all[i+1] {
			return nil, fmt.Errorf("after %v came %v, %v, not %v", all[i], some[:min(1, len(some))], errnoName(err), all[i+1])
		}
	}
	names := map[string]bool{}
	for _, e := range all {
		names[e.Name] = true
	}
	if len(names) != len(all) {
		return nil, fmt.Errorf("%d entries of %d names", len(all), len(names))
	}
	return len(all), nil
}

func childMmap(args []string) (any, error) {
	f, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), unix.Munmap(b)
}

// childRuns lists where data and holes begin.
func childRuns(args []string) (any, error) {
	f, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	runs := []int64{}
	for off, whence := int64(0), unix.SEEK_DATA; ; whence = unix.SEEK_DATA + unix.SEEK_HOLE - whence {
		off, err = unix.Seek(int(f.Fd()), off, whence)
		if errors.Is(err, unix.ENXIO) {
			return runs, nil
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, off)
	}
}

// childChange tries to change things, and says what errors it got.
func childChange(args []string) (any, error) {
	dir := args[0]
	f, now := dir+"/f", []unix.Timespec{{Sec: 1}, {Sec: 1}}
	open := func(flags int) error {
		fd, err := unix.Open(f, flags, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	_, create := os.OpenFile(dir+"/new", os.O_CREATE|os.O_WRONLY, 0o600)
	results := map[string]error{
		"create": create, "write": open(unix.O_WRONLY), "rdwr": open(unix.O_RDWR), "trunc": open(unix.O_RDONLY | unix.O_TRUNC),
		"mkdir": unix.Mkdir(dir+"/d", 0o700), "rmdir": unix.Rmdir(dir + "/sub"), "unlink": unix.Unlink(f),
		"rename": unix.Rename(f, dir+"/g"), "link": unix.Link(f, dir+"/h"), "symlink": unix.Symlink("x", dir+"/s"),
		"chmod": unix.Chmod(f, 0), "chown": unix.Chown(f, 1, 1), "truncate": unix.Truncate(f, 0),
		"utimes": unix.UtimesNanoAt(unix.AT_FDCWD, f, now, 0), "setxattr": unix.Setxattr(f, "user.x", nil, 0),
		"removexattr": unix.Removexattr(f, "user.a"), "mknod": unix.Mknod(dir+"/p", unix.S_IFIFO, 0),
		"access": unix.Access(f, unix.W_OK), "acl": unix.Setxattr(f, "system.posix_acl_access", make([]byte, 4), 0),
	}
	texts := map[string]string{}
	for name, err := range results {
		texts[name] = errnoName(err)
	}
	return texts, nil
}

func errnoName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}

// childDirect reads the same bytes with O_DIRECT from several threads: each read
// is a request of its own.
func childDirect(args []string) (any, error) {
	count, _ := strconv.Atoi(args[1])
	sums := make([]string, count)
	errs := make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_DIRECT, 0)
			if err != nil {
				errs[i] = err
				return
			}
			defer unix.Close(fd)
			buf := make([]byte, 64<<10)
			n, err := unix.Pread(fd, buf, 0)
			sum := sha256.Sum256(buf[:max(n, 0)])
			sums[i], errs[i] = hex.EncodeToString(sum[:]), err
		})
	}
	all.Wait()
	return sums, errors.Join(errs...)
}

func childHello(args []string) (any, error) {
	return map[string]int{"uid": os.Getuid(), "euid": os.Geteuid()}, nil
}

// childExec becomes another program, as nobody.
func childExec(args []string) (any, error) {
	if err := unix.Setgroups(nil); err != nil {
		return nil, err
	}
	if err := syscall.Setuid(65534); err != nil {
		return nil, err
	}
	os.Setenv(childEnv, "hello")
	return nil, unix.Exec(args[0], args, os.Environ())
}

// childStorm opens, reads and closes files from many threads.
func childStorm(args []string) (any, error) {
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for k := range 200 {
				path := args[(i+k)%len(args)]
				f, err := os.Open(path)
				if err == nil {
					_, err = f.ReadAt(make([]byte, 4096), int64(k%16)*4096)
					f.Close()
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	return nil, errors.Join(errs...)
}

// childSignals reads while signals come that it handles, and says so when the
// first has come.
func childSignals(args []string) (any, error) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGUSR1)
	go func() {
		for range c {
			fmt.Fprintln(os.Stderr, "signal")
		}
	}()
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Pread(fd, buf, 0) // does not retry after EINTR
	sum := sha256.Sum256(buf[:max(n, 0)])
	return hex.EncodeToString(sum[:]), err
}

// childErrno says how reading files fails.
func childErrno(args []string) (any, error) {
	texts := []string{}
	for _, path := range args {
		_, err := os.ReadFile(path)
		texts = append(texts, errnoName(err))
	}
	return texts, nil
}

func childStatfs(args []string) (any, error) {
	var st unix.Statfs_t
	err := unix.Statfs(args[0], &st)
	return st, err
}

// childTwice opens a file, says so, waits, and opens it again while the first is
// open. It gives what it reads both ways.
func childTwice(args []string) (any, error) {
	first, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	defer first.Close()
	fmt.Fprintln(os.Stderr, "open")
	os.Stdin.Read(make([]byte, 1))
	second, err := sumOf(args[0])
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err := first.WriteTo(sum); err != nil {
		return nil, err
	}
	return []string{hex.EncodeToString(sum.Sum(nil)), second}, nil
}

// threads of a process.
func threads(t *testing.T, pid int) (tids []int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// childCrowd reads all files at once.
func childCrowd(paths []string) (any, error) {
	errs := make(chan error, len(paths))
	for _, path := range paths {
		go func() {
			_, err := sumOf(path)
			errs <- err
		}()
	}
	var all error
	for range paths {
		all = errors.Join(all, <-errs)
	}
	return nil, all
}
