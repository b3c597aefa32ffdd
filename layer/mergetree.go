package layer

import (
	"fmt"
	"hash/maphash"
	"iter"
	"math"
)

// origin is the entry that something comes from: layers count from 1, and layer
// 0 is none.
type origin struct {
	entry uint32
	layer uint16
}

// inode is a file of the merged tree. Its attributes and content stay in the
// maps.
type inode struct {
	attrEntry, dataEntry uint32 // origins, flat for size
	attrLayer, dataLayer uint16
	sealed               uint16 // of a directory: the layer at or below whose start nothing in it comes from
	kind                 Type
	opaque               bool   // of a directory that is to hide what lower ones of its name have
	nlink                uint32 // names; of a directory set at the end
	first                uint32 // of a directory: its first name
	up                   uint32 // of a directory: the one it lies in
	number               uint32 // in the image, set at the end
}

func (n *inode) attrs() origin { return origin{n.attrEntry, n.attrLayer} }
func (n *inode) data() origin  { return origin{n.dataEntry, n.dataLayer} }

func (n *inode) setAttrs(o origin) { n.attrEntry, n.attrLayer = o.entry, o.layer }

// name is a name in a directory. Number 0 is none.
type name struct {
	dir, inode uint32
	text       uint32 // where it begins in tree.text
	prev, next uint32 // in its directory
	chain      uint32 // in its bucket
	layer      uint16 // the last one that has it, or something below it
	length     uint8
}

// tree is the merged tree: some 100 bytes a file. Names are found by a hash table
// over directory and text. Inode 0 is the root.
type tree struct {
	inodes     []inode
	names      []name
	text       []byte
	freeInodes []uint32
	freeNames  []uint32
	buckets    []uint32
	seed       maphash.Seed
}

// newTree has room for so many files, and grows.
func newTree(files int) *tree {
	buckets := 1 << 10
	for buckets < files {
		buckets <<= 1
	}
	t := &tree{
		inodes: make([]inode, 1, files+2), names: make([]name, 1, files+2), text: make([]byte, 0, 16*files),
		buckets: make([]uint32, buckets), seed: maphash.MakeSeed(),
	}
	t.inodes[0] = inode{kind: Dir}
	return t
}

func (t *tree) bucket(dir uint32, text string) *uint32 {
	h := maphash.String(t.seed, text) ^ uint64(dir)*0x9e3779b97f4a7c15
	return &t.buckets[(h^h>>32)&uint64(len(t.buckets)-1)]
}

func (t *tree) textOf(n *name) string { return alias(t.text[n.text:][:n.length]) }

// lookup finds a name, or 0.
func (t *tree) lookup(dir uint32, text string) uint32 {
	at := *t.bucket(dir, text)
	for at != 0 {
		n := &t.names[at]
		if n.dir == dir && t.textOf(n) == text {
			break
		}
		at = n.chain
	}
	return at
}

// add puts a new name, which is not there, into a directory.
func (t *tree) add(dir uint32, text string, inode uint32, layer uint16) error {
	if len(text) > maxComponent || len(t.text)+len(text) > math.MaxInt32 {
		return fmt.Errorf("%w: a name of %d bytes after %d", ErrUnsupported, len(text), len(t.text))
	}
	if len(t.names) > len(t.buckets) {
		t.widen()
	}
	at := t.freshName()
	first := t.inodes[dir].first
	bucket := t.bucket(dir, text)
	t.names[at] = name{
		dir: dir, inode: inode, text: uint32(len(t.text)), next: first, chain: *bucket, layer: layer, length: uint8(len(text)),
	}
	t.text = append(t.text, text...)
	t.inodes[dir].first, *bucket = at, at
	if first != 0 {
		t.names[first].prev = at
	}
	t.inodes[inode].nlink++
	if t.inodes[inode].kind == Dir {
		t.inodes[inode].up = dir
	}
	return nil
}

// namesIn are the names in a directory. Each may be removed when it is given, and
// others added: those are not given.
func (t *tree) namesIn(dir uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for at := t.inodes[dir].first; at != 0; {
			next := t.names[at].next
			if !yield(at) {
				return
			}
			at = next
		}
	}
}

func (t *tree) freshName() uint32 {
	if last := len(t.freeNames) - 1; last >= 0 {
		at := t.freeNames[last]
		t.freeNames = t.freeNames[:last]
		return at
	}
	t.names = append(t.names, name{})
	return uint32(len(t.names) - 1)
}

// widen doubles the table. Free names are in no bucket: their directory is
// noDir.
func (t *tree) widen() {
	t.buckets = make([]uint32, 2*len(t.buckets))
	for at := 1; at < len(t.names); at++ {
		if n := &t.names[at]; n.dir != noDir {
			bucket := t.bucket(n.dir, t.textOf(n))
			n.chain, *bucket = *bucket, uint32(at)
		}
	}
}

// noDir is the directory of a free name.
const noDir = math.MaxUint32

// create makes an inode without a name.
func (t *tree) create(n inode) (uint32, error) {
	if last := len(t.freeInodes) - 1; last >= 0 {
		at := t.freeInodes[last]
		t.freeInodes = t.freeInodes[:last]
		t.inodes[at] = n
		return at, nil
	}
	if len(t.inodes) == maxInodes {
		return 0, fmt.Errorf("%w: more than %d files", ErrUnsupported, maxInodes)
	}
	t.inodes = append(t.inodes, n)
	return uint32(len(t.inodes) - 1), nil
}

// remove takes a name away, with all below it. Paths have at most [maxPath]
// bytes, which bounds the depth.
func (t *tree) remove(at uint32) {
	n := &t.names[at]
	if n.prev != 0 {
		t.names[n.prev].next = n.next
	} else {
		t.inodes[n.dir].first = n.next
	}
	if n.next != 0 {
		t.names[n.next].prev = n.prev
	}
	link := t.bucket(n.dir, t.textOf(n))
	for *link != at {
		link = &t.names[*link].chain
	}
	*link = n.chain
	n.dir = noDir
	t.freeNames = append(t.freeNames, at)
	t.drop(n.inode)
}

// drop takes one name from an inode, and the inode away with its last.
func (t *tree) drop(at uint32) {
	n := &t.inodes[at]
	if n.nlink--; n.nlink > 0 {
		return
	}
	if n.kind == Dir {
		for n.first != 0 {
			t.remove(n.first)
		}
	}
	t.freeInodes = append(t.freeInodes, at)
}
