//go:build linux

package layer

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/treelist"
	"github.com/shoal-project/shoal/layer/erofs"
)

// dirSink keeps objects as files; zeros are holes.
type dirSink struct{ dir string }

func (s *dirSink) path(d chunk.Digest) string { return filepath.Join(s.dir, d.Hex()) }

func (s *dirSink) Put(data []byte) (chunk.Digest, error) {
	d := chunk.SumBytes(data)
	return d, os.WriteFile(s.path(d), data, 0o600)
}

func (s *dirSink) Ingest(size int64) (Ingest, error) {
	f, err := os.CreateTemp(s.dir, "ingest")
	if err != nil {
		return nil, err
	}
	return &fileIngest{s, f, sha256.New(), size, 0}, nil
}

type fileIngest struct {
	sink *dirSink
	file *os.File
	hash io.Writer
	size int64
	at   int64
}

func (i *fileIngest) Write(p []byte) (int, error) {
	_, _ = i.hash.Write(p)
	if !chunk.IsZero(p) {
		if _, err := i.file.WriteAt(p, i.at); err != nil {
			return 0, err
		}
	}
	i.at += int64(len(p))
	return len(p), nil
}

func (i *fileIngest) Commit() (d chunk.Digest, err error) {
	if i.at != i.size {
		return d, fmt.Errorf("%d of %d bytes", i.at, i.size)
	}
	if err := i.file.Truncate(i.size); err != nil {
		return d, err
	}
	d = chunk.Digest(i.hash.(interface{ Sum([]byte) []byte }).Sum(nil))
	return d, os.Rename(i.file.Name(), i.sink.path(d))
}

func (i *fileIngest) Abort() error { return i.file.Close() }

// treeReader lists an image tree by our own reader.
type treeReader struct {
	image   *erofs.Image
	objects *dirSink
	first   map[uint64]treelist.Name
	all     []treelist.Entry
}

func readTree(image []byte, objects *dirSink) ([]treelist.Entry, error) {
	im, err := erofs.Open(image)
	if err != nil {
		return nil, err
	}
	r := &treeReader{image: im, objects: objects, first: map[uint64]treelist.Name{}}
	return r.all, r.visit(im.Root(), ".")
}

func (r *treeReader) visit(nid uint64, at string) error {
	n, err := r.image.Inode(nid)
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	e := treelist.Entry{
		Path: treelist.Name(at), Mode: n.Mode, UID: n.UID, GID: n.GID, Nlink: uint64(n.Nlink),
		Sec: n.Sec, Nsec: int64(n.Nsec), Rdev: n.Rdev,
	}
	if err := r.content(&n, &e); err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	err = r.image.Xattrs(&n, func(name string, value []byte) bool {
		if e.Xattrs == nil {
			e.Xattrs = map[treelist.Name]treelist.Name{}
		}
		e.Xattrs[treelist.Name(name)] = treelist.Name(value)
		return true
	})
	if err != nil {
		return fmt.Errorf("%q: %w", at, err)
	}
	if !n.IsDir() && n.Nlink > 1 {
		if first, known := r.first[nid]; known {
			e.First = first
		} else {
			r.first[nid] = e.Path
		}
	}
	r.all = append(r.all, e)
	if !n.IsDir() {
		return nil
	}
	return r.children(&n, at)
}

func (r *treeReader) children(n *erofs.Inode, at string) (err error) {
	var inner error
	err = r.image.ReadDir(n, 0, func(d erofs.Dirent) bool {
		if name := string(d.Name); name != "." && name != ".." {
			inner = r.visit(d.Nid, path.Join(at, name))
		}
		return inner == nil
	})
	if inner != nil {
		return inner
	}
	return err
}

func (r *treeReader) content(n *erofs.Inode, e *treelist.Entry) error {
	switch {
	case n.IsSymlink():
		target, err := r.image.ReadInline(n)
		e.Size, e.Target = n.Size, treelist.Name(target)
		return err
	case !n.IsRegular():
		return nil
	}
	e.Size = n.Size
	h := sha256.New()
	for off := int64(0); off < n.Size; {
		x, err := r.image.Extent(n, off)
		if err != nil {
			return err
		}
		if err := r.copy(h, n, x); err != nil {
			return err
		}
		off += x.Length
	}
	e.Sum = treelist.Sum(h.Sum(nil))
	return nil
}

func (r *treeReader) copy(h io.Writer, n *erofs.Inode, x erofs.Extent) error {
	switch x.Device {
	case erofs.Hole:
		_, err := io.CopyN(h, zeroReader{}, x.Length)
		return err
	case erofs.Inline:
		p, err := r.image.ReadInline(n)
		if err != nil {
			return err
		}
		_, err = h.Write(p[x.Offset:][:x.Length])
		return err
	}
	d, err := r.image.Device(x.Device)
	if err != nil {
		return err
	}
	f, err := os.Open(r.objects.path(d.Object))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != d.Size {
		return fmt.Errorf("%w: object %s has %d bytes", fs.ErrInvalid, d.Object, info.Size())
	}
	_, err = io.Copy(h, io.NewSectionReader(f, x.Offset, x.Length))
	return err
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
