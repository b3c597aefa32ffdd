package erofs

import (
	"bytes"
	"fmt"
	"io/fs"
)

// dirBlock is a block of a directory: records, the names behind them.
type dirBlock struct {
	b     []byte
	count int
}

func parseDirBlock(b []byte) (dirBlock, bool) {
	if len(b) < direntSize {
		return dirBlock{}, false
	}
	names := int(le.Uint16(b[8:]))
	if names < direntSize || names%direntSize != 0 || names >= len(b) {
		return dirBlock{}, false
	}
	return dirBlock{b, names / direntSize}, true
}

// name is entry i's, or false if it is not a name. That of the block's last entry
// ends with the block or at a zero.
func (d dirBlock) name(i int) ([]byte, bool) {
	begin, end := int(le.Uint16(d.b[i*direntSize+8:])), len(d.b)
	if i+1 < d.count {
		end = int(le.Uint16(d.b[(i+1)*direntSize+8:]))
	}
	if begin < d.count*direntSize || begin >= end || end > len(d.b) {
		return nil, false
	}
	name := d.b[begin:end:end]
	if i+1 == d.count {
		if zero := bytes.IndexByte(name, 0); zero >= 0 {
			name = name[:zero:zero]
		}
	}
	return name, len(name) > 0 && len(name) <= MaxName
}

func (d dirBlock) nid(i int) uint64 { return le.Uint64(d.b[i*direntSize:]) }

func (d dirBlock) typ(i int) uint8 { return direntType(d.b[i*direntSize+10]) }

// entries are the bytes of a directory's blocks.
func (im *Image) entries(dir *Inode) ([]byte, error) {
	b, ok := im.at(dir.place.data, dir.Size)
	if !ok || !dir.IsDir() {
		return nil, fmt.Errorf("%w: inode %d is not a directory", ErrCorrupt, dir.Nid)
	}
	return b, nil
}

func blockOf(entries []byte, k int) (dirBlock, bool) {
	return parseDirBlock(entries[k*BlockSize : min((k+1)*BlockSize, len(entries))])
}

// Lookup finds name in dir, with its inode's number and type (Linux's DT_DIR and
// so on, 0 if unknown). It finds "." and ".." too. If there is no such name, the
// error is [fs.ErrNotExist]. It does not allocate.
func (im *Image) Lookup(dir *Inode, name string) (nid uint64, typ uint8, err error) {
	entries, err := im.entries(dir)
	if err != nil {
		return 0, 0, err
	}
	// The last block whose first name is not after name.
	low, high := 0, (len(entries)+BlockSize-1)/BlockSize
	var block dirBlock
	for low < high {
		mid := low + (high-low)/2
		b, ok := blockOf(entries, mid)
		if !ok {
			return 0, 0, corruptDir(dir)
		}
		first, ok := b.name(0)
		if !ok {
			return 0, 0, corruptDir(dir)
		}
		if string(first) <= name {
			low, block = mid+1, b
		} else {
			high = mid
		}
	}
	return block.find(dir, name)
}

// find searches one block, which may be empty.
func (d dirBlock) find(dir *Inode, name string) (uint64, uint8, error) {
	low, high := 0, d.count
	for low < high {
		mid := low + (high-low)/2
		this, ok := d.name(mid)
		switch {
		case !ok:
			return 0, 0, corruptDir(dir)
		case string(this) == name:
			return d.nid(mid), d.typ(mid), nil
		case string(this) < name:
			low = mid + 1
		default:
			high = mid
		}
	}
	return 0, 0, fs.ErrNotExist
}

// ReadDir gives dir's entries from cookie on, "." and ".." in their places among
// the names, in byte order, until yield is false. A cookie is 0 for the start, or
// a [Dirent.Next]; it stays good for ever. Any other gives some suffix of the
// entries, or an error.
func (im *Image) ReadDir(dir *Inode, cookie uint64, yield func(Dirent) bool) error {
	entries, err := im.entries(dir)
	if err != nil {
		return err
	}
	if cookie >= uint64(len(entries)) {
		return nil
	}
	i := (int(cookie%BlockSize) + direntSize - 1) / direntSize
	for k := int(cookie / BlockSize); k*BlockSize < len(entries); k++ {
		block, ok := blockOf(entries, k)
		if !ok {
			return corruptDir(dir)
		}
		for ; i < block.count; i++ {
			name, ok := block.name(i)
			if !ok || bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0 || block.nid(i) > uint64(len(im.b))/nidUnit {
				return corruptDir(dir)
			}
			next := k*BlockSize + (i+1)*direntSize
			if i+1 == block.count {
				next = (k + 1) * BlockSize
			}
			if !yield(Dirent{Name: name, Nid: block.nid(i), Type: block.typ(i), Next: uint64(next)}) {
				return nil
			}
		}
		i = 0
	}
	return nil
}

func corruptDir(dir *Inode) error {
	return fmt.Errorf("%w: directory %d is malformed", ErrCorrupt, dir.Nid)
}
