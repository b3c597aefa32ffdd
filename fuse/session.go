//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Session is what a process needs to take a mount over from another, besides a
// descriptor of the connection, the table of open files, and the same images.
type Session struct {
	Dir    string `json:"dir"`
	Device string `json:"device"` // number of the mount's device, "major:minor"
	// Config is that of the mount. What the kernel was told of it holds until the
	// file system is mounted anew: [FS.Resume] goes by it.
	Config Config `json:"config"`
	// Init is the kernel's first request, Reply the answer that it was given.
	Init  []byte `json:"init"`
	Reply []byte `json:"reply"`
}

// Resumable tells whether the kernel can send again what the last process read and
// did not answer (Linux 6.9). Without that, a process that takes over leaves
// readers waiting for ever.
func (s Session) Resumable() bool { return resends(s.Init) }

func (s Session) validate() error {
	if !filepath.IsAbs(s.Dir) || len(s.Reply) < notifySize || len(s.Reply) > maxInit {
		return errors.New("its record is damaged")
	}
	return errors.Join(checkInit(s.Init), s.Config.Validate())
}

// ErrCannotResume says that a mount cannot be taken over by this process. It is
// not harmed; somebody else may.
var ErrCannotResume = errors.New("the mount cannot be taken over")

// Session describes the mount, or is false if there is none.
func (f *FS) Session() (Session, bool) {
	f.conn.mu.RLock()
	defer f.conn.mu.RUnlock()
	return f.conn.session, f.conn.server != nil
}

// Device gives a descriptor of the connection, for others to keep. While there is
// one, requests of the kernel wait if nobody serves.
func (f *FS) Device() (*os.File, error) {
	f.conn.mu.RLock()
	defer f.conn.mu.RUnlock()
	if f.conn.device == nil {
		return nil, errors.New("the file system is not mounted")
	}
	fd, err := unix.FcntlInt(f.conn.device.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate the connection: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

// Resume takes over the mount of a process that has ended, with all that was open
// or asked for: device is a descriptor of its connection, which belongs to the file
// system from now on, and opens the path of its table. The images that were in it
// must have been added before, or announced by [FS.Expect]. [FS.Serve] must follow.
func (f *FS) Resume(of Session, device *os.File, opens string) error {
	if err := f.resume(of, device, opens); err != nil {
		return fmt.Errorf("resume the mount at %s: %w", of.Dir, errors.Join(err, device.Close()))
	}
	return nil
}

func (f *FS) resume(of Session, device *os.File, opens string) error {
	if err := f.mountable(); err != nil {
		return err
	}
	if err := of.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrCannotResume, err)
	}
	if !of.Resumable() {
		return fmt.Errorf("%w: the kernel cannot repeat requests; that needs Linux 6.9", ErrCannotResume)
	}
	if isDead(device) {
		return fmt.Errorf("%w: the kernel has given its connection up", ErrCannotResume)
	}
	table, err := loadOpens(opens)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCannotResume, err)
	}
	if err := f.backings.use(table); err != nil {
		return err
	}
	return f.takeOver(of, device)
}

func (f *FS) takeOver(of Session, device *os.File) error {
	f.keepSettings(of.Config)
	s, err := handshake(f.requests(), f.options(), of.Init)
	if err != nil {
		return err
	}
	if !slices.Equal(s.reply, of.Reply) {
		return fmt.Errorf("%w: this version of the program would have answered the kernel otherwise (%x, not %x)",
			ErrCannotResume, s.reply, of.Reply)
	}
	// Nobody reads yet, so that what is asked for again is not what this process has.
	err = f.backings.finish(func(id int32) error { return closeBacking(device, id) })
	if err == nil {
		err = askAgain(device)
	}
	if err != nil {
		return err
	}
	if err := s.connect(device); err != nil {
		return err
	}
	f.connected(of, s, device)
	return nil
}

// keepSettings goes by what the kernel was told when it mounted.
func (f *FS) keepSettings(of Config) {
	mine := f.cfg
	f.cfg.Passthrough, f.cfg.PassthroughMin, f.cfg.MaxRead = of.Passthrough, of.PassthroughMin, of.MaxRead
	f.cfg.IDMapped = of.IDMapped
	if f.cfg != mine {
		f.log.Warn("some settings of the file system have changed; they count when it is next mounted anew, after `lazyfs shutdown`",
			"settings", "passthrough, passthrough_min, max_read, idmapped")
	}
}

// backingClose is FUSE_DEV_IOC_BACKING_CLOSE.
const backingClose = 0x4004e502

// closeBacking gives a backing id back that an earlier process had.
func closeBacking(device *os.File, id int32) error {
	if err := unix.IoctlSetPointerInt(int(device.Fd()), backingClose, int(id)); err != nil {
		return fmt.Errorf("giving the backing id %d back: %w", id, err)
	}
	return nil
}

// isDead tells whether the kernel gave a connection up.
func isDead(device *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(device.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
}
