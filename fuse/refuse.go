//go:build linux

package fuse

import (
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

const readOnly = gofuse.Status(syscall.EROFS)

// refusals answer every request to change something with EROFS. What is neither
// answered here nor by the requests that embed it gets ENOSYS, upon which the
// kernel does without.
type refusals struct{ gofuse.RawFileSystem }

func newRefusals() refusals { return refusals{gofuse.NewDefaultRawFileSystem()} }

func (refusals) SetAttr(<-chan struct{}, *gofuse.SetAttrIn, *gofuse.AttrOut) gofuse.Status {
	return readOnly
}

func (refusals) Mknod(<-chan struct{}, *gofuse.MknodIn, string, *gofuse.EntryOut) gofuse.Status {
	return readOnly
}

func (refusals) Mkdir(<-chan struct{}, *gofuse.MkdirIn, string, *gofuse.EntryOut) gofuse.Status {
	return readOnly
}

func (refusals) Unlink(<-chan struct{}, *gofuse.InHeader, string) gofuse.Status { return readOnly }

func (refusals) Rmdir(<-chan struct{}, *gofuse.InHeader, string) gofuse.Status { return readOnly }

func (refusals) Rename(<-chan struct{}, *gofuse.RenameIn, string, string) gofuse.Status {
	return readOnly
}

func (refusals) Link(<-chan struct{}, *gofuse.LinkIn, string, *gofuse.EntryOut) gofuse.Status {
	return readOnly
}

func (refusals) Symlink(<-chan struct{}, *gofuse.InHeader, string, string, *gofuse.EntryOut) gofuse.Status {
	return readOnly
}

func (refusals) SetXAttr(<-chan struct{}, *gofuse.SetXAttrIn, string, []byte) gofuse.Status {
	return readOnly
}

func (refusals) RemoveXAttr(<-chan struct{}, *gofuse.InHeader, string) gofuse.Status {
	return readOnly
}

func (refusals) Create(<-chan struct{}, *gofuse.CreateIn, string, *gofuse.CreateOut) gofuse.Status {
	return readOnly
}

func (refusals) Tmpfile(<-chan struct{}, *gofuse.CreateIn, *gofuse.CreateOut) gofuse.Status {
	return readOnly
}

func (refusals) Writev(<-chan struct{}, *gofuse.WriteIn, [][]byte) (uint32, gofuse.Status) {
	return 0, readOnly
}

func (refusals) Write(<-chan struct{}, *gofuse.WriteIn, []byte) (uint32, gofuse.Status) {
	return 0, readOnly
}

func (refusals) CopyFileRange(<-chan struct{}, *gofuse.CopyFileRangeIn) (uint32, gofuse.Status) {
	return 0, readOnly
}

func (refusals) Fallocate(<-chan struct{}, *gofuse.FallocateIn) gofuse.Status { return readOnly }

// Ioctl has nothing to offer: ENOTTY, upon which tools such as lsattr go on.
func (refusals) Ioctl(<-chan struct{}, *gofuse.IoctlIn, []byte, *gofuse.IoctlOut, []byte) gofuse.Status {
	return gofuse.Status(syscall.ENOTTY)
}
