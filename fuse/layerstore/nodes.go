//go:build linux

package layerstore

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/chunk"
)

// fixed is a directory that nobody changes: go-fuse would let names be removed.
type fixed struct{ fs.Inode }

var (
	_ fs.NodeUnlinker = (*fixed)(nil)
	_ fs.NodeRmdirer  = (*fixed)(nil)
	_ fs.NodeRenamer  = (*fixed)(nil)
)

func (*fixed) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }
func (*fixed) Rmdir(context.Context, string) syscall.Errno  { return syscall.EPERM }
func (*fixed) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EPERM
}

// rootNode has a directory for each image that is asked for.
type rootNode struct {
	fixed
	store *Store
}

var _ fs.NodeLookuper = (*rootNode)(nil)

func (r *rootNode) Lookup(ctx context.Context, text string, _ *gofuse.EntryOut) (*fs.Inode, syscall.Errno) {
	reference, ok := decode(text)
	if !ok {
		return nil, syscall.ENOENT
	}
	return child(ctx, &r.Inode, text, &imageNode{store: r.store, reference: reference}, syscall.S_IFDIR), 0
}

// child gives the inode of a name, the same as long as the kernel knows it.
func child(ctx context.Context, parent *fs.Inode, name string, made fs.InodeEmbedder, mode uint32) *fs.Inode {
	if known := parent.GetChild(name); known != nil {
		return known
	}
	return parent.NewInode(ctx, made, fs.StableAttr{Mode: mode})
}

// imageNode has a directory for each layer of the image.
type imageNode struct {
	fixed
	store     *Store
	reference string
}

var (
	_ fs.NodeLookuper = (*imageNode)(nil)
	_ fs.NodeRmdirer  = (*imageNode)(nil)
)

// Lookup opens the layer. It does not end when the caller is interrupted: Go
// programs interrupt themselves all the time, and come again.
func (i *imageNode) Lookup(ctx context.Context, text string, _ *gofuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d, err := chunk.ParseDigest(text)
	if err != nil {
		return nil, syscall.ENOENT
	}
	n := name{i.reference, d}
	if _, err := i.store.find(n); err != nil {
		return nil, syscall.ENOENT
	}
	return child(ctx, &i.Inode, text, &layerNode{store: i.store, name: n}, syscall.S_IFDIR), 0
}

// Rmdir says that the layer has one use less.
func (i *imageNode) Rmdir(_ context.Context, text string) syscall.Errno {
	d, err := chunk.ParseDigest(text)
	if err != nil {
		return syscall.ENOENT
	}
	if err := i.store.unuse(name{i.reference, d}); err != nil && !errors.Is(err, ErrUnknown) {
		i.store.log.Error("a layer has one use less, and that cannot be written down", "image", i.reference, "layer", text, "error", err)
		return syscall.EIO
	}
	return syscall.ENOENT // as whoever asks expects of a store that counts
}

// layerNode is a layer.
type layerNode struct {
	fixed
	store *Store
	name  name
}

var (
	_ fs.NodeLookuper = (*layerNode)(nil)
	_ fs.NodeCreater  = (*layerNode)(nil)
)

func (l *layerNode) Lookup(ctx context.Context, text string, out *gofuse.EntryOut) (*fs.Inode, syscall.Errno) {
	f, err := l.store.find(l.name)
	if err != nil {
		return nil, syscall.ENOENT
	}
	switch text {
	case "diff":
		return child(ctx, &l.Inode, text, &linkNode{store: l.store, name: l.name}, syscall.S_IFLNK), 0
	case "info":
		data, err := infoOf(f.record.Layer, f.record.Plain)
		if err != nil {
			return nil, syscall.EIO
		}
		out.Mode, out.Size = 0o444, uint64(len(data))
		return child(ctx, &l.Inode, text, &infoNode{data: data}, syscall.S_IFREG), 0
	case "blob":
		out.Mode, out.Size = 0o400, uint64(f.record.Layer.Size)
		return child(ctx, &l.Inode, text, &blobNode{store: l.store, layer: f.record.Layer}, syscall.S_IFREG), 0
	}
	return nil, syscall.ENOENT
}

// Create of "use" says that the layer has one use more.
func (l *layerNode) Create(ctx context.Context, text string, _, _ uint32, _ *gofuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if text != "use" {
		return nil, nil, 0, syscall.EPERM
	}
	pid := uint32(0)
	if caller, ok := gofuse.FromContext(ctx); ok {
		pid = caller.Pid
	}
	if err := l.store.use(l.name, pid); err != nil {
		l.store.log.Error("a layer has one use more, and that cannot be written down", "image", l.name.Reference, "layer", l.name.Digest.String(), "error", err)
		return nil, nil, 0, syscall.EIO
	}
	return nil, nil, 0, syscall.ENOENT // as whoever asks expects of a store that counts
}

// linkNode leads to the layer's view.
type linkNode struct {
	fs.Inode
	store *Store
	name  name
}

var _ fs.NodeReadlinker = (*linkNode)(nil)

func (l *linkNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	dir, err := l.store.layers.Lower(ctx, userOf(l.name))
	if err != nil {
		l.store.log.Warn("a layer cannot be shown", "image", l.name.Reference, "layer", l.name.Digest.String(), "error", err)
		return nil, syscall.EIO
	}
	return []byte(dir), 0
}

// infoNode has what containers/storage is to record.
type infoNode struct {
	fs.Inode
	data []byte
}

var (
	_ fs.NodeGetattrer = (*infoNode)(nil)
	_ fs.NodeOpener    = (*infoNode)(nil)
	_ fs.NodeReader    = (*infoNode)(nil)
)

func (i *infoNode) Getattr(_ context.Context, _ fs.FileHandle, out *gofuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o444, uint64(len(i.data))
	return 0
}

func (i *infoNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, onlyReading(flags)
}

func (i *infoNode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (gofuse.ReadResult, syscall.Errno) {
	from := min(off, int64(len(i.data)))
	return gofuse.ReadResultData(i.data[from:min(from+int64(len(dest)), int64(len(i.data)))]), 0
}

func onlyReading(flags uint32) syscall.Errno {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return syscall.EACCES
	}
	return 0
}

// blobNode has the registry's bytes.
type blobNode struct {
	fs.Inode
	store *Store
	layer *Layer
}

var (
	_ fs.NodeGetattrer = (*blobNode)(nil)
	_ fs.NodeOpener    = (*blobNode)(nil)
)

func (b *blobNode) Getattr(_ context.Context, _ fs.FileHandle, out *gofuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o400, uint64(b.layer.Size)
	return 0
}

// Open has the blob brought to this node, which may take as long as pulling it.
func (b *blobNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := onlyReading(flags); errno != 0 {
		return nil, 0, errno
	}
	blob, err := b.store.layers.Blob(b.store.ctx, b.layer)
	if err != nil {
		b.store.log.Warn("a layer's blob cannot be had", "image", b.layer.Reference, "layer", b.layer.Digest.String(), "error", err)
		return nil, 0, syscall.EIO
	}
	return &blobHandle{blob}, 0, 0
}

type blobHandle struct{ blob Blob }

var (
	_ fs.FileReader   = (*blobHandle)(nil)
	_ fs.FileReleaser = (*blobHandle)(nil)
)

func (h *blobHandle) Read(_ context.Context, dest []byte, off int64) (gofuse.ReadResult, syscall.Errno) {
	n, err := h.blob.ReadAt(dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, syscall.EIO
	}
	return gofuse.ReadResultData(dest[:n]), 0
}

func (h *blobHandle) Release(context.Context) syscall.Errno {
	_ = h.blob.Close()
	return 0
}
