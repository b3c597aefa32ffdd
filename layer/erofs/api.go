package erofs

import (
	"errors"
	"io"
)

type place struct{}
type Image struct{}

var errNotYet = errors.New("not yet")

// Write streams the image of s to w and returns its size.
func Write(w io.Writer, s Source) (size int64, err error) { return 0, errNotYet }

// Open reads an image in place. b must not change while the image is used.
func Open(b []byte) (*Image, error) { return nil, errNotYet }

// Root is the root directory's nid.
func (im *Image) Root() uint64 { return 0 }

// Inodes is how many inodes the image says it has.
func (im *Image) Inodes() uint64 { return 0 }

// Devices is the length of the device table.
func (im *Image) Devices() int { return 0 }

// Device is slot i of the device table.
func (im *Image) Device(i int) (Device, error) { return Device{}, errNotYet }

// Inode reads inode nid.
func (im *Image) Inode(nid uint64) (Inode, error) { return Inode{}, errNotYet }

// Lookup finds a name in a directory, with its nid and type (DT_DIR and so on). It returns fs.ErrNotExist if there is none.
func (im *Image) Lookup(dir *Inode, name string) (nid uint64, typ uint8, err error) {
	return 0, 0, errNotYet
}

// ReadDir gives the entries of dir from cookie on ("." and ".." among them, in byte order) until yield is false. 0 is the start.
func (im *Image) ReadDir(dir *Inode, cookie uint64, yield func(Dirent) bool) error { return errNotYet }

// Extent is the longest contiguous run of a regular file's bytes from off on; io.EOF at or past its end.
func (im *Image) Extent(n *Inode, off int64) (Extent, error) { return Extent{}, errNotYet }

// ReadInline is the bytes of a file in the tree, or a link's target, within the image's bytes.
func (im *Image) ReadInline(n *Inode) ([]byte, error) { return nil, errNotYet }

// Xattrs gives the extended attributes of n until yield is false. Values point into the image.
func (im *Image) Xattrs(n *Inode, yield func(name string, value []byte) bool) error { return errNotYet }

// Xattr is one extended attribute, without allocating; fs.ErrNotExist if n has none of that name.
func (im *Image) Xattr(n *Inode, name string) (value []byte, err error) { return nil, errNotYet }

// XattrError says that EROFS cannot hold an extended attribute.
type XattrError struct{ Name, Reason string }

func (e *XattrError) Error() string { return e.Name + e.Reason }

// CheckXattr tells by an *XattrError whether EROFS cannot hold x.
func CheckXattr(x Xattr) error { return errNotYet }

// CheckXattrs tells by an *XattrError whether EROFS cannot hold these on one inode.
func CheckXattrs(x []Xattr) error { return errNotYet }

// Mount mounts the image at path tree, read-only, on target; devices are the paths of the objects in the order of the device table.
func Mount(tree string, devices []string, target string) error { return errNotYet }
