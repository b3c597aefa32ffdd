//go:build linux

package fuse

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// zeros is a [Content] of complete objects of any size.
type zeros struct{ file *os.File }

func (z zeros) Open(chunk.Digest, int64) (Object, error)  { return z, nil }
func (z zeros) File() *os.File                            { return z.file }
func (z zeros) Present(int64, int64) bool                 { return true }
func (z zeros) Complete() bool                            { return true }
func (z zeros) Fetch(context.Context, int64, int64) error { return nil }
func (z zeros) Ahead(int64, int64)                        {}
func (z zeros) Close() error                              { return nil }

func newZeros(tb testing.TB) zeros {
	file, err := os.Create(filepath.Join(tb.TempDir(), "zeros"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { file.Close() })
	if err := file.Truncate(chunk.MaxObject); err != nil {
		tb.Fatal(err)
	}
	return zeros{file}
}

// FuzzHostileTree does to a tree whatever the kernel may do.
func FuzzHostileTree(f *testing.F) {
	whole := everything().bytes(f)
	f.Add(whole)
	for i := 0; i < len(whole); i += 1 + len(whole)/64 {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x55
		f.Add(bad)
	}
	small := newTree()
	small.dir("d")
	small.inline("d/f", []byte("content"))
	small.symlink("l", "d/f")
	f.Add(small.bytes(f))
	z := newZeros(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := erofs.Open(b)
		if err != nil {
			return
		}
		fs, err := New(Default(), quiet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		im, err := fs.Add(7, "img", tree, z)
		if err != nil {
			return
		}
		r := &requests{refusals: newRefusals(), fs: fs}
		nodes := []uint64{im.root}
		for i := 0; i < len(nodes) && i < 200; i++ {
			nodes = append(nodes, exercise(t, r, nodes[i])...)
		}
		for nid := range uint64(64) {
			exercise(t, r, nodeOf(7, nid*uint64(len(b))/64/32))
		}
		if err := fs.Remove(7); err != nil {
			t.Fatal(err)
		}
	})
}

// exercise sends all requests for a node, and gives the nodes that are in it.
func exercise(t *testing.T, r *requests, node uint64) (found []uint64) {
	h := &gofuse.InHeader{NodeId: node}
	get := &gofuse.GetAttrIn{InHeader: *h}
	var attr gofuse.AttrOut
	if r.GetAttr(nil, get, &attr) != gofuse.OK {
		return nil
	}
	if attr.Ino != node || attr.Size > math.MaxInt64 {
		t.Fatalf("node %#x has the number %#x, size %d", node, attr.Ino, attr.Size)
	}
	r.StatFs(nil, h, &gofuse.StatfsOut{})
	r.Readlink(nil, h)
	r.GetXAttr(nil, h, "security.capability", make([]byte, 100))
	if n, st := r.ListXAttr(nil, h, make([]byte, 1000)); st == gofuse.OK && n > 1000 {
		t.Fatalf("a list of %d bytes in 1000", n)
	}
	r.Open(nil, &gofuse.OpenIn{InHeader: *h}, &gofuse.OpenOut{})
	for _, whence := range []uint32{unix.SEEK_DATA, unix.SEEK_HOLE} {
		var out gofuse.LseekOut
		if r.Lseek(nil, &gofuse.LseekIn{InHeader: *h, Offset: attr.Size / 2, Whence: whence}, &out) == gofuse.OK &&
			(out.Offset < attr.Size/2 || out.Offset > attr.Size) {
			t.Fatalf("seek from %d of %d gave %d", attr.Size/2, attr.Size, out.Offset)
		}
	}
	for _, off := range []uint64{0, attr.Size / 2, attr.Size - min(attr.Size, 10), math.MaxInt64, math.MaxUint64} {
		got, st := r.get(node, int64(off), 5000)
		if want := min(5000, attr.Size-min(attr.Size, off)); st == gofuse.OK && uint64(len(got)) != want {
			t.Fatalf("read at %d of %d gave %d bytes", off, attr.Size, len(got))
		}
	}
	return list(t, r, node)
}

// list reads a directory to its end or its first error.
func list(t *testing.T, r *requests, node uint64) (found []uint64) {
	for off, last := uint64(0), uint64(0); ; last = off {
		out := gofuse.NewDirEntryList(make([]byte, 8192), off)
		st := r.ReadDirPlus(nil, readIn(node, int64(off), 8192), out)
		entries, attrs, err := gofuse.ParseDirLookupEntries(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			if !validEntry([]byte(e.Name)) || e.Off <= off {
				t.Fatalf("entry %q at %d after %d", e.Name, e.Off, off)
			}
			off = e.Off
			if n := attrs[i].NodeId; n != 0 {
				found = append(found, n)
			}
			if id, _ := splitNode(e.Ino); id != 7 {
				t.Fatalf("entry %q has the number %#x", e.Name, e.Ino)
			}
			r.Lookup(nil, &gofuse.InHeader{NodeId: node}, e.Name, &gofuse.EntryOut{})
		}
		plain := gofuse.NewDirEntryList(make([]byte, 8192), last)
		r.ReadDir(nil, readIn(node, int64(last), 8192), plain)
		if st != gofuse.OK || len(entries) == 0 {
			return found
		}
	}
}
