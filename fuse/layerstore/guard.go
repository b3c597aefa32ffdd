//go:build linux

package layerstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Engines refuse to do anything while the directory of a store does not answer. So
// a process watches over the mount, and takes it away when its server was killed.

// Guard is that process's work: it returns when the store's process has ended,
// which closes the other end of alive, and unmounts a store that nobody serves.
func Guard(mount string, alive io.Reader) error {
	_, _ = io.Copy(io.Discard, alive) // whatever ends it, the process is gone
	var st unix.Stat_t
	switch err := unix.Stat(mount, &st); {
	case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNABORTED):
	default:
		return nil // unmounted in order, or another serves there by now
	}
	if err := unix.Unmount(mount, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmounting the layer store at %s: %w", mount, err)
	}
	return nil
}

// guard starts the process. Signals to this one's group do not reach it.
func (s *Store) guard() error {
	if len(s.cfg.Guard) < 2 {
		return nil
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting the layer store's guard: %w", err)
	}
	defer theirs.Close()
	cmd := exec.Command(s.cfg.Guard[0])
	cmd.Args = append(append([]string(nil), s.cfg.Guard[1:]...), s.cfg.Mount)
	cmd.Stdin, cmd.SysProcAttr = theirs, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting the layer store's guard: %w", err), ours.Close())
	}
	s.alive = ours
	s.tasks.Go(func() {
		if err := cmd.Wait(); err != nil {
			s.log.Warn("the guard of the layer store's mount ended; if this daemon is killed, unmount it by hand", "mount", s.cfg.Mount, "error", err)
		}
	})
	return nil
}

// dismiss ends the guard.
func (s *Store) dismiss() error {
	if s.alive == nil {
		return nil
	}
	return s.alive.Close()
}
