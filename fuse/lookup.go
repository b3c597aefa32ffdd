//go:build linux

package fuse

import (
	"bytes"
	"strings"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/layer/erofs"
)

// requests are the kernel's, answered. There is no state per inode: everything
// is in the tree, and FORGET means nothing.
type requests struct {
	refusals
	fs *FS
}

func (r *requests) String() string { return "shoal" }

// Lookup also answers for absent names, so that the kernel remembers them, and
// for "." and "..", by which it finds inodes again that it has only a file
// handle of.
func (r *requests) Lookup(_ <-chan struct{}, h *gofuse.InHeader, name string, out *gofuse.EntryOut) gofuse.Status {
	if len(name) > erofs.MaxName {
		return gofuse.Status(syscall.ENAMETOOLONG)
	}
	if h.NodeId == root {
		return r.lookupImage(name, out)
	}
	im, dir, st := r.hold(h.NodeId)
	if st != gofuse.OK {
		return st
	}
	defer im.release()
	nid := dir.Nid
	if name != "." {
		var err error
		if !dir.IsDir() {
			return gofuse.ENOTDIR
		}
		if nid, err = im.lookup(&dir, name); err != nil {
			return im.absent(err, out)
		}
	}
	return im.status(im.entry(nid, out))
}

func (im *Image) absent(err error, out *gofuse.EntryOut) gofuse.Status {
	st := im.status(err)
	if st == gofuse.ENOENT {
		out.SetEntryTimeout(im.fs.cfg.CacheFor) // node id 0: there is no such name
		return gofuse.OK
	}
	return st
}

func (r *requests) lookupImage(name string, out *gofuse.EntryOut) gofuse.Status {
	if name == "." || name == ".." {
		out.NodeId = root
		r.fs.rootAttr(&out.Attr)
		return gofuse.OK
	}
	name, objects := strings.CutSuffix(name, objectsSuffix)
	im := r.fs.awaitNamed(name)
	if im == nil || !im.hold() {
		return gofuse.ENOENT // not remembered: the image may come
	}
	defer im.release()
	if objects {
		return im.status(im.entry(objectsNid, out))
	}
	return im.status(im.entry(im.tree.Root(), out))
}

func (r *requests) GetAttr(_ <-chan struct{}, in *gofuse.GetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	out.SetTimeout(r.fs.cfg.CacheFor)
	if in.NodeId == root {
		r.fs.rootAttr(&out.Attr)
		return gofuse.OK
	}
	im, n, st := r.hold(in.NodeId)
	if st != gofuse.OK {
		return st
	}
	defer im.release()
	return im.status(im.attr(&n, &out.Attr))
}

// Readlink gives a copy: the answer is sent after the image may be gone.
func (r *requests) Readlink(_ <-chan struct{}, h *gofuse.InHeader) ([]byte, gofuse.Status) {
	im, n, st := r.hold(h.NodeId)
	if st != gofuse.OK {
		return nil, st
	}
	defer im.release()
	if !n.IsSymlink() {
		return nil, gofuse.EINVAL
	}
	target, err := im.tree.ReadInline(&n)
	if err == nil && (len(target) == 0 || len(target) > erofs.MaxTarget || bytes.IndexByte(target, 0) >= 0) {
		err = erofs.ErrCorrupt
	}
	return bytes.Clone(target), im.status(err)
}

func (r *requests) StatFs(_ <-chan struct{}, h *gofuse.InHeader, out *gofuse.StatfsOut) gofuse.Status {
	if h.NodeId == root {
		usage(out, r.fs.Images()...)
		return gofuse.OK
	}
	im, _, st := r.hold(h.NodeId)
	if st != gofuse.OK {
		return st
	}
	defer im.release()
	usage(out, im)
	return gofuse.OK
}
