package erofs

import (
	"cmp"
	"fmt"
	"strings"
)

// dirBlocks packs directory entries into blocks: each has its entries' records,
// then their names. All but the last are padded.
type dirBlocks struct {
	size    int64 // bytes of the blocks that were emitted
	records []byte
	names   []byte
	emit    func(block []byte) error
}

func (d *dirBlocks) add(name string, nid uint64, ft uint8, blockSize int64) error {
	if int64(len(d.records)+len(d.names)+direntSize+len(name)) > blockSize {
		if err := d.flush(blockSize); err != nil {
			return err
		}
	}
	d.records = le.AppendUint64(d.records, nid)
	d.records = le.AppendUint16(d.records, uint16(len(d.names)))
	d.records = append(d.records, ft, 0)
	d.names = append(d.names, name...)
	return nil
}

// flush emits the block, padded to pad bytes.
func (d *dirBlocks) flush(pad int64) error {
	start := uint16(len(d.records))
	for at := 8; at < len(d.records); at += direntSize {
		le.PutUint16(d.records[at:], le.Uint16(d.records[at:])+start)
	}
	block := append(d.records, d.names...)
	for int64(len(block)) < pad {
		block = append(block, 0)
	}
	d.size += int64(len(block))
	d.records, d.names = block[:0], d.names[:0]
	return d.emit(block)
}

// directory packs directory i, its dot entries in their places among the names,
// and returns the length of its blocks. emit must not keep the block.
func (w *writer) directory(i int, emit func(block []byte) error) (int64, error) {
	parent := w.source.Parent(i)
	if parent < 0 || parent >= len(w.nids) {
		return 0, fmt.Errorf("parent %d of %d inodes", parent, len(w.nids))
	}
	d := &w.dir
	d.size, d.records, d.names, d.emit = 0, d.records[:0], d.names[:0], emit
	dots, dotInodes := []string{".", ".."}, []int{i, parent}
	w.last = w.last[:0]
	var bad error
	entry := func(name string, inode int, mode uint32) bool {
		if bad = w.checkEntry(name, inode, mode); bad != nil {
			return false
		}
		for len(dots) > 0 && dots[0] < name && bad == nil {
			bad = w.addEntry(dots[0], dotInodes[0], ModeDir)
			dots, dotInodes = dots[1:], dotInodes[1:]
		}
		if bad == nil {
			bad = w.addEntry(name, inode, mode)
		}
		w.last = append(w.last[:0], name...)
		return bad == nil
	}
	err := w.source.Children(i, entry)
	if err = cmp.Or(bad, err); err != nil {
		return 0, err
	}
	for j, dot := range dots {
		if err := w.addEntry(dot, dotInodes[j], ModeDir); err != nil {
			return 0, err
		}
	}
	if err := d.flush(0); err != nil {
		return 0, err
	}
	return d.size, nil
}

func (w *writer) addEntry(name string, inode int, mode uint32) error {
	ft, _ := entryType(mode)
	return w.dir.add(name, uint64(w.nids[inode]), ft, w.blockSize)
}

func (w *writer) checkEntry(name string, inode int, mode uint32) error {
	_, known := entryType(mode)
	switch {
	case name == "" || name == "." || name == ".." || len(name) > MaxName || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("no file name: %.300q", name)
	case name <= string(w.last):
		return fmt.Errorf("names out of order: %q after %q", name, w.last)
	case inode <= 0 || inode >= len(w.nids):
		return fmt.Errorf("%q is inode %d of %d", name, inode, len(w.nids))
	case !known:
		return fmt.Errorf("%q has mode %#o", name, mode)
	}
	return nil
}
