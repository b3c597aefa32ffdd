//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ErrMounted says that a file system is mounted already.
var ErrMounted = errors.New("the file system is mounted already")

// Mount makes the file system appear at dir, for [FS.Serve] to serve: until that
// runs, whoever looks at dir waits. Set-uid bits and device nodes count, and all
// users may look, as in any root of a container.
func (f *FS) Mount(dir string) error { return f.MountKept(dir, "") }

// MountKept is Mount with the table of open files in a new file of its own, at the
// path opens, so that another process can [FS.Resume] what this one leaves.
func (f *FS) MountKept(dir, opens string) error {
	if err := f.mountable(); err != nil {
		return fmt.Errorf("mount at %s: %w", dir, err)
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
	if err := f.attach(dir, opens, device); err != nil {
		device.Close()
		return fmt.Errorf("mount at %s: %w", dir, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)))
	}
	return nil
}

func (f *FS) mountable() error {
	if server, at, _ := f.conn.current(); server != nil {
		return fmt.Errorf("%w at %s", ErrMounted, at)
	}
	return nil
}

// attach answers the kernel's first request, and keeps both.
func (f *FS) attach(dir, opens string, device *os.File) error {
	number, err := deviceAt(dir)
	if err != nil {
		return err
	}
	table, err := createOpens(opens)
	if err != nil {
		return err
	}
	if err := f.backings.use(table); err != nil {
		return err
	}
	first, err := firstRequest(device)
	if err != nil {
		return err
	}
	s, err := handshake(f.requests(), f.options(), first)
	if err != nil {
		return err
	}
	if _, err := unix.Write(int(device.Fd()), s.reply); err != nil {
		return fmt.Errorf("answer the kernel's first request: %w", err)
	}
	if err := s.connect(device); err != nil {
		return err
	}
	f.connected(Session{Dir: dir, Device: number, Config: f.cfg, Init: first, Reply: s.reply}, s, device)
	return nil
}

func (f *FS) requests() *requests { return &requests{refusals: newRefusals(), fs: f} }

// connected is the end of every way to a connection.
func (f *FS) connected(of Session, s *served, device *os.File) {
	if !touchBuffers(s.Server) {
		f.log.Warn("go-fuse's buffers have another form; a request that comes while this process is killed may fail")
	}
	f.conn.set(of, s.Server, device)
	if err := setReadAhead(of.Device, f.cfg.ReadAhead); err != nil {
		f.log.Warn("the kernel's read-ahead stays as it is; sequential reads will be slower", "error", err)
	}
}

// maxBackground is how many requests the kernel sends whose senders do not wait by
// themselves: reads ahead, with which those of waiting readers begin. It is one
// number for all images: at the end of it, nobody reads anything. So it is the largest
// that the kernel takes.
const maxBackground = math.MaxUint16

// options are what the kernel is told at the start, and must be the same in a
// process that takes the connection over. Access control lists count, as on a
// disk, at the price of one request for each inode that a stranger opens.
// Attributes always come with names: of a directory of 100,000 files, a bare
// listing then costs 0.4 s of CPU instead of 0.06, but one that looks at the
// files 0.7 s instead of 3.5, which the kernel's own choice would cost.
func (f *FS) options() *gofuse.MountOptions {
	o := &gofuse.MountOptions{
		Name: "shoal", FsName: "shoal", AllowOther: true,
		MaxWrite: f.cfg.MaxRead, MaxBackground: maxBackground,
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
// [FS.Mount] or [FS.Resume].
func (f *FS) Serve() error {
	server, dir, _ := f.conn.current()
	if server == nil {
		return errors.New("serve: the file system is not mounted")
	}
	server.Serve()
	f.handles.init()
	if err := f.end(); err != nil {
		return fmt.Errorf("end of the mount at %s: %w", dir, err)
	}
	return nil
}

// end lets Close and Abort return only when all is removed.
func (f *FS) end() error {
	defer f.conn.ended()
	return errors.Join(f.removeAll(), f.backings.init())
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
