//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"unsafe"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ErrMounted says that a file system is mounted already.
var ErrMounted = errors.New("the file system is mounted already")

// Mount makes the file system appear at dir, for [FS.Serve] to serve: until that
// runs, whoever looks at dir waits. Set-uid bits and device nodes count, and all
// users may look, as in any root of a container.
func (f *FS) Mount(dir string) error {
	if server, at, _ := f.conn.current(); server != nil {
		return fmt.Errorf("mount at %s: %w at %s", dir, ErrMounted, at)
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("mount at %s: %w; load the kernel's module fuse", dir, err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=%d,allow_other,default_permissions",
		device.Fd(), f.cfg.MaxRead)
	if err := unix.Mount("shoal", dir, "fuse.shoal", unix.MS_RDONLY, options); err != nil {
		device.Close()
		return fmt.Errorf("mount at %s: %w", dir, err)
	}
	if err := f.attach(dir, device); err != nil {
		device.Close()
		return fmt.Errorf("mount at %s: %w", dir, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)))
	}
	number, err := deviceAt(dir)
	if err == nil {
		f.conn.known(number)
		err = setReadAhead(number, f.cfg.ReadAhead)
	}
	if err != nil {
		f.log.Warn("the kernel's read-ahead stays as it is; sequential reads will be slower", "error", err)
	}
	return nil
}

// attach answers the kernel's first request. The server is given a descriptor of
// its own, under the name by which it takes connections that others have mounted.
func (f *FS) attach(dir string, device *os.File) error {
	fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("duplicate the connection: %w", err)
	}
	// The server closes fd, also when it fails after it read the first request.
	server, err := gofuse.NewServer(&requests{refusals: newRefusals(), fs: f}, fmt.Sprintf("/dev/fd/%d", fd), f.options())
	if err != nil {
		return fmt.Errorf("answer the kernel's first request: %w", err)
	}
	settings := server.KernelSettings()
	first := unsafe.Slice((*byte)(unsafe.Pointer(settings)), unsafe.Sizeof(*settings))
	f.conn.set(dir, server, device, append([]byte(nil), first...))
	return nil
}

// options are what the kernel is told at the start, and must be the same in a
// process that takes the connection over. Access control lists count, as on a
// disk, at the price of one request for each inode that a stranger opens.
// Attributes always come with names: of a directory of 100,000 files, a bare
// listing then costs 0.4 s of CPU instead of 0.06, but one that looks at the
// files 0.7 s instead of 3.5, which the kernel's own choice would cost.
func (f *FS) options() *gofuse.MountOptions {
	o := &gofuse.MountOptions{
		Name: "shoal", FsName: "shoal", AllowOther: true,
		MaxWrite: f.cfg.MaxRead, MaxBackground: f.cfg.MaxBackground,
		DisableSplice: true, EnableSymlinkCaching: true, EnableAcl: true,
		IDMappedMount:     f.cfg.IDMapped,
		ExtraCapabilities: gofuse.CAP_EXPORT_SUPPORT | gofuse.CAP_NO_OPENDIR_SUPPORT,
		Logger:            slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
	}
	if !f.cfg.Passthrough {
		o.DisabledCapabilities = gofuse.CAP_PASSTHROUGH
	}
	return o
}

// Serve answers the kernel until the file system is unmounted, by [FS.Close] or
// from outside; then all images are removed. It must be called once after each
// [FS.Mount].
func (f *FS) Serve() error {
	server, dir, _ := f.conn.current()
	if server == nil {
		return errors.New("serve: the file system is not mounted")
	}
	server.Serve()
	f.handles.init()
	f.backings.init()
	if err := f.end(); err != nil {
		return fmt.Errorf("end of the mount at %s: %w", dir, err)
	}
	return nil
}

// end lets Close and Abort return only when all is removed.
func (f *FS) end() error {
	defer f.conn.ended()
	return f.removeAll()
}

// Close unmounts the file system and waits for Serve to end. While anything uses
// it by the directory where it was mounted, it stays so, and the error wraps
// EBUSY. Who uses it by other ways (bind mounts, overlays, other mount
// namespaces) goes on, and Close waits for the last of them.
func (f *FS) Close() error { return f.unmount(0, func() error { return nil }) }

// Abort unmounts the file system although it is in use, wherever it is: reads
// that wait fail with ECONNABORTED, and what is open fails from then on with
// ENOTCONN. It also ends a Close that waits.
func (f *FS) Abort() error {
	return f.unmount(unix.MNT_FORCE|unix.MNT_DETACH, f.conn.abort)
}

func (f *FS) unmount(flags int, also func() error) error {
	server, dir, served := f.conn.current()
	if server == nil {
		return nil
	}
	err := unix.Unmount(dir, flags|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) { // it is not there any more, but may be elsewhere
		err = also()
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	<-served
	return nil
}

// Session is what a process needs, besides a descriptor of the connection, to
// take a mount over from another: the file system made with the same settings and
// images, and the kernel's first request to be answered again in the same way.
type Session struct {
	Dir    string
	Config Config
	Init   []byte
}

// Session describes the mount, or is false if there is none.
func (f *FS) Session() (Session, bool) {
	f.conn.mu.RLock()
	defer f.conn.mu.RUnlock()
	return Session{Dir: f.conn.dir, Config: f.cfg, Init: f.conn.init}, f.conn.server != nil
}
