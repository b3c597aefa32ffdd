//go:build linux

package fuse

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// tree is an image tree in memory, an [erofs.Source]. Inode 0 is the root.
type tree struct {
	nodes   []*treeNode
	objects [][]byte
}

type treeNode struct {
	erofs.Inode
	content  erofs.Content
	xattrs   []erofs.Xattr
	children map[string]int
	parent   int
	data     []byte // what a read gives
}

func newTree() *tree {
	t := &tree{}
	t.add("", erofs.Inode{Mode: erofs.ModeDir | 0o755})
	return t
}

// at is the inode at a path, whose parents must be there.
func (t *tree) at(path string) *treeNode { return t.nodes[t.index(path)] }

func (t *tree) index(path string) int {
	i := 0
	for _, name := range strings.Split(path, "/") {
		if name != "" {
			var ok bool
			if i, ok = t.nodes[i].children[name]; !ok {
				panic("no " + path)
			}
		}
	}
	return i
}

func cutPath(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

func (t *tree) add(path string, n erofs.Inode) *treeNode {
	node := &treeNode{Inode: n}
	node.Nlink = 1
	if n.IsDir() {
		node.children, node.Nlink = map[string]int{}, 2
	}
	if path != "" {
		dir, name := cutPath(path)
		node.parent = t.index(dir)
		t.nodes[node.parent].children[name] = len(t.nodes)
		if n.IsDir() {
			t.nodes[node.parent].Nlink++
		}
	}
	t.nodes = append(t.nodes, node)
	return node
}

func (t *tree) dir(path string) *treeNode {
	return t.add(path, erofs.Inode{Mode: erofs.ModeDir | 0o755, Sec: 1})
}

func (t *tree) symlink(path, target string) *treeNode {
	n := t.add(path, erofs.Inode{Mode: erofs.ModeSymlink | 0o777, Size: int64(len(target))})
	n.content.Inline = []byte(target)
	return n
}

// inline is a file that is kept in the tree.
func (t *tree) inline(path string, data []byte) *treeNode {
	n := t.add(path, erofs.Inode{Mode: erofs.ModeRegular | 0o644, Size: int64(len(data))})
	n.content.Inline, n.data = data, data
	return n
}

// object adds an object, for files to lie in.
func (t *tree) object(data []byte) int {
	t.objects = append(t.objects, data)
	return len(t.objects) - 1
}

func (t *tree) packed(path string, object int, off, size int64) *treeNode {
	n := t.add(path, erofs.Inode{Mode: erofs.ModeRegular | 0o644, Size: size})
	n.content = erofs.Content{Device: object, Offset: off}
	n.data = t.objects[object][off : off+size]
	if all := int64(len(t.objects[object])); off+size > all/erofs.BlockSize*erofs.BlockSize {
		n.content.Inline = n.data[size/erofs.BlockSize*erofs.BlockSize:] // for the kernel's own reading
	}
	return n
}

// file is a file that is an object of its own; its zero chunks are holes.
func (t *tree) file(path string, data []byte) *treeNode {
	n := t.packed(path, t.object(data), 0, int64(len(data)))
	holes := chunk.NewBitmap(chunk.Count(int64(len(data))))
	for i := range holes.Len() {
		begin := int64(i) * chunk.Size
		part := data[begin : begin+chunk.Length(int64(len(data)), i)]
		if !slices.ContainsFunc(part, func(b byte) bool { return b != 0 }) {
			holes.Set(i)
		}
	}
	if holes.Count() > 0 {
		n.content.Holes = holes
	}
	return n
}

// walk visits every name, parents first; paths are as JSON can say them.
func (t *tree) walk(visit func(path string, n *treeNode)) {
	var below func(path string, i int)
	below = func(path string, i int) {
		n := t.nodes[i]
		visit(strings.ToValidUTF8(path, "\ufffd"), n)
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			below(strings.TrimPrefix(path+"/"+name, "/"), n.children[name])
		}
	}
	below("", 0)
}

func (t *tree) link(path, existing string) {
	dir, name := cutPath(path)
	i := t.index(existing)
	t.at(dir).children[name] = i
	t.nodes[i].Nlink++
}

func (t *tree) Len() int         { return len(t.nodes) }
func (t *tree) Parent(i int) int { return t.nodes[i].parent }

func (t *tree) Devices() []erofs.Device {
	var all []erofs.Device
	for _, o := range t.objects {
		all = append(all, erofs.Device{Object: chunk.SumBytes(o), Size: int64(len(o))})
	}
	return all
}

func (t *tree) Inode(i int, n *erofs.Inode, c *erofs.Content, x *[]erofs.Xattr) error {
	node := t.nodes[i]
	if n != nil {
		*n = node.Inode
	}
	if c != nil {
		*c = node.content
	}
	if x != nil {
		*x = append((*x)[:0], node.xattrs...)
	}
	return nil
}

func (t *tree) Children(i int, yield func(string, int, uint32) bool) error {
	names := make([]string, 0, len(t.nodes[i].children))
	for name := range t.nodes[i].children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		child := t.nodes[i].children[name]
		if !yield(name, child, t.nodes[child].Mode) {
			return nil
		}
	}
	return nil
}

func (t *tree) bytes(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	if _, err := erofs.Write(&b, t); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func (t *tree) image(tb testing.TB) *erofs.Image {
	tb.Helper()
	im, err := erofs.Open(t.bytes(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return im
}

// noise is n bytes without zero runs, the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0] = byte(seed)
	rand.NewChaCha8(key).Read(b)
	return b
}
