//go:build linux

package treelist

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Options say what to list.
type Options struct {
	// NoContent leaves Sum zero: no file is opened.
	NoContent bool
	// NoXattrs leaves Xattrs nil.
	NoXattrs bool
	// Overlay leaves out names that cannot be found though they are listed, as
	// overlayfs lists whiteouts in a directory that lies in one layer alone.
	Overlay bool
}

// List lists the tree at root, the root itself first. Its order is that of the
// paths, compared component by component in bytes.
func List(ctx context.Context, root string, o Options) ([]Entry, error) {
	var all []Entry
	err := walk(ctx, root, o, func(e Entry) error {
		all = append(all, e)
		return nil
	})
	return all, err
}

// walker carries what a walk remembers: the first path of each inode that has
// several.
type walker struct {
	ctx   context.Context
	root  string
	o     Options
	first map[inode]Name
	yield func(Entry) error
	buf   []byte
}

type inode struct{ dev, ino uint64 }

func walk(ctx context.Context, root string, o Options, yield func(Entry) error) error {
	w := &walker{ctx: ctx, root: root, o: o, first: map[inode]Name{}, yield: yield, buf: make([]byte, 1<<20)}
	return w.visit(".")
}

func (w *walker) visit(path string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	e, err := w.entry(path)
	if w.o.Overlay && errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %q: %w", path, err)
	}
	if err := w.yield(e); err != nil || !e.IsDir() {
		return err
	}
	// os.ReadDir sorts by name.
	children, err := os.ReadDir(filepath.Join(w.root, path))
	if err != nil {
		return fmt.Errorf("list %q: %w", path, err)
	}
	for _, c := range children {
		if err := w.visit(filepath.Join(path, c.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(path string) (Entry, error) {
	full := filepath.Join(w.root, path)
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		return Entry{}, err
	}
	e := Entry{
		Path: Name(path), Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size,
		Nlink: uint64(st.Nlink), //nolint:unconvert // it has 32 bits on arm64
		Sec:   st.Mtim.Sec, Nsec: st.Mtim.Nsec,
	}
	w.relate(&e, inode{st.Dev, st.Ino})
	var err error
	switch e.Mode & typeBits {
	case typeDir:
		e.Size = 0
	case typeLink:
		var target string
		target, err = os.Readlink(full)
		e.Target = Name(target)
	case typeFile:
		if !w.o.NoContent {
			e.Sum, err = w.sum(full)
		}
	case 0o020000, 0o060000:
		e.Rdev = st.Rdev
	}
	if err != nil || w.o.NoXattrs {
		return e, err
	}
	e.Xattrs, err = xattrs(full)
	return e, err
}

// relate fills in First. A directory's links are names of its own, not others.
func (w *walker) relate(e *Entry, id inode) {
	if e.IsDir() || e.Nlink < 2 {
		return
	}
	if first, known := w.first[id]; known {
		e.First = first
		return
	}
	w.first[id] = e.Path
}

func (w *walker) sum(full string) (s Sum, err error) {
	f, err := os.OpenFile(full, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := sha256.New()
	// The wrapper keeps CopyBuffer from a buffer of its own for each file.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, w.buf); err != nil {
		return s, err
	}
	return Sum(h.Sum(nil)), nil
}

func xattrs(full string) (map[Name]Name, error) {
	names, err := growing(func(p []byte) (int, error) { return unix.Llistxattr(full, p) })
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	all := map[Name]Name{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := growing(func(p []byte) (int, error) { return unix.Lgetxattr(full, name, p) })
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %q: %w", name, err)
		}
		all[Name(name)] = Name(value)
	}
	return all, nil
}

// growing calls a getter whose answer fits 256 bytes or at most 64 KiB.
func growing(get func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 16 {
		p := make([]byte, size)
		n, err := get(p)
		if err == nil {
			return p[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size > 64<<10 {
			return nil, err
		}
	}
}
