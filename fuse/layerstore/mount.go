//go:build linux

package layerstore

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Mount makes the store appear, and serves it until Close.
func (s *Store) Mount() error {
	if err := s.clear(); err != nil {
		return err
	}
	options := &fs.Options{
		// No timeouts: what is there changes, and engines ask rarely.
		MountOptions: gofuse.MountOptions{
			AllowOther: true, FsName: "shoal-layers", Name: "shoal-layers", DisableXAttrs: true,
			Logger: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		},
		Logger: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	device, err := mountDevice(s.cfg.Mount)
	if err != nil {
		return err
	}
	server, err := gofuse.NewServer(fs.NewNodeFS(&rootNode{store: s}, options), fmt.Sprintf("/dev/fd/%d", device), &options.MountOptions)
	if err != nil {
		return errors.Join(fmt.Errorf("mounting the layer store at %s: %w", s.cfg.Mount, err), unix.Unmount(s.cfg.Mount, unix.MNT_DETACH), unix.Close(device))
	}
	s.server = server
	s.tasks.Go(server.Serve)
	s.tasks.Go(s.sweep)
	if err := server.WaitMount(); err != nil {
		return fmt.Errorf("mounting the layer store at %s: %w", s.cfg.Mount, err)
	}
	return s.guard()
}

// mountDevice mounts what the descriptor that it gives serves. No program that this
// process starts has it: the mount would outlive this process.
func mountDevice(dir string) (int, error) {
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("mounting the layer store at %s: %w; load the kernel's module fuse", dir, err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", device)
	if err := unix.Mount("shoal-layers", dir, "fuse.shoal-layers", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, options); err != nil {
		return -1, errors.Join(fmt.Errorf("mounting the layer store at %s: %w", dir, err), unix.Close(device))
	}
	return device, nil
}

// clear makes the directory, and unmounts what a process that was killed left.
func (s *Store) clear() error {
	for {
		err := unix.Unmount(s.cfg.Mount, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmounting what was left at %s: %w", s.cfg.Mount, err)
		}
	}
	if err := os.MkdirAll(s.cfg.Mount, 0o755); err != nil {
		return fmt.Errorf("making the layer store's directory: %w", err)
	}
	return nil
}

// unmount takes the store away, also from other mount namespaces that have a copy
// of the mount: only lookups can be under way.
func (s *Store) unmount() error {
	if s.server == nil {
		return nil
	}
	if err := unix.Unmount(s.cfg.Mount, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmounting the layer store at %s: %w", s.cfg.Mount, err)
	}
	s.server.Wait()
	return nil
}

// pathOf is where a layer lies below the store's directory.
func pathOf(n name) string { return encode(n.Reference) + "/" + n.Digest.String() }

func encode(reference string) string { return base64.StdEncoding.EncodeToString([]byte(reference)) }

// maxReference bounds an image's name.
const maxReference = 1024

// decode reads the name of an image's directory.
func decode(text string) (reference string, ok bool) {
	plain, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(plain) == 0 || len(plain) > maxReference || encode(string(plain)) != text {
		return "", false
	}
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	return string(plain), !strings.ContainsFunc(string(plain), strange)
}
