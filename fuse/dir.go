//go:build linux

package fuse

import (
	"math"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/layer/erofs"
)

// OpenDir is not needed: the kernel then opens directories without asking, and
// caches what it reads of them.
func (r *requests) OpenDir(<-chan struct{}, *gofuse.OpenIn, *gofuse.OpenOut) gofuse.Status {
	return gofuse.ENOSYS
}

func (r *requests) ReadDir(_ <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	if in.NodeId == root {
		return r.readRoot(in.Offset, out.AddDirEntry)
	}
	return r.readDir(in, func(im *Image, e gofuse.DirEntry, nid uint64) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus gives attributes with the names. An entry whose inode cannot be
// read is given without, and fails when it is looked up.
func (r *requests) ReadDirPlus(_ <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	if in.NodeId == root {
		return r.readRoot(in.Offset, func(e gofuse.DirEntry) bool { return out.AddDirLookupEntry(e) != nil })
	}
	return r.readDir(in, func(im *Image, e gofuse.DirEntry, nid uint64) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			return false
		}
		if e.Name != "." && e.Name != ".." && im.entry(nid, entry) != nil {
			*entry = gofuse.EntryOut{}
		}
		return true
	})
}

// readDir walks a directory from the kernel's offset, which is a cookie of the
// tree's, and so means the same in every process and at every time.
func (r *requests) readDir(in *gofuse.ReadIn, add func(*Image, gofuse.DirEntry, uint64) bool) gofuse.Status {
	im, dir, st := r.hold(in.NodeId)
	if st != gofuse.OK {
		return st
	}
	defer im.release()
	if !dir.IsDir() {
		return gofuse.ENOTDIR
	}
	var bad error
	last := in.Offset
	err := im.list(&dir, in.Offset, func(e erofs.Dirent) bool {
		node, err := im.node(e.Nid)
		// The kernel would read in a circle if cookies did not grow.
		if err != nil || e.Nid >= objectsNid && dir.Nid != objectsNid || e.Next <= last || e.Next > math.MaxInt64 || !validEntry(e.Name) {
			bad = erofs.ErrCorrupt
			return false
		}
		last = e.Next
		return add(im, gofuse.DirEntry{Name: string(e.Name), Ino: node, Mode: uint32(e.Type) << 12, Off: e.Next}, e.Nid)
	})
	if err == nil {
		err = bad
	}
	return im.status(err)
}

func validEntry(name []byte) bool {
	return validName(string(name)) || string(name) == "." || string(name) == ".."
}

// readRoot lists the images. An entry's offset is its id and two, so that a
// listing goes on in the right place when images come and go meanwhile.
func (r *requests) readRoot(from uint64, add func(gofuse.DirEntry) bool) gofuse.Status {
	for i, name := range []string{".", ".."} {
		e := gofuse.DirEntry{Name: name, Ino: root, Mode: erofs.ModeDir, Off: uint64(i) + 1}
		if e.Off > from && !add(e) {
			return gofuse.OK
		}
	}
	for _, im := range r.fs.Images() {
		e := gofuse.DirEntry{Name: im.name, Ino: im.root, Mode: erofs.ModeDir, Off: uint64(im.id) + 2}
		if e.Off > from && !add(e) {
			return gofuse.OK
		}
	}
	return gofuse.OK
}
