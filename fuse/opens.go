//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// opens is the table of open files that are, or could be, in passthrough. It lies
// in a file that is mapped into memory, so that it survives this process, however
// that ends; nothing is synced, because the kernel's end does not survive the
// machine. A process that takes the connection over learns from it which way each
// file is open, and by which backing id.
//
// Words of 64 bits, in this machine's order: eight of header, then eight for each
// slot. A slot counts from the moment in which its first word says so, which is
// written last. Between two writes the process may end.
//
//	header: magic, version, slots, last backing id, whether another is being
//	        registered, how many slots were ever used
//	slot:   generation*4 + state, node, generation of the image, number of the
//	        OPEN request, backing id (0: not in passthrough)
//
// The caller excludes others.
type opens struct {
	words  []uint64
	mapped []byte   // nil if the words are this process's own
	free   []uint32 // slots below used that are free
}

const (
	opensMagic   = 0x736e706f6c616f68
	opensVersion = 1
	slotWords    = 8
	// maxOpens bounds the table: 16 MiB, of which only what was used takes memory.
	maxOpens = 1 << 18

	slotFree, slotOpen, slotClosing = 0, 1, 2
)

const (
	headMagic = iota
	headVersion
	headSlots
	headLast
	headIntent
	headUsed
)

const (
	slotState = iota
	slotNode
	slotImage
	slotUnique
	slotID
)

// handleBit marks the file handles that this table gives; then come the slot's
// generation (31 bits) and its number.
const (
	handleBit      = 1 << 63
	generationMask = 1<<31 - 1
)

// record is what a slot says.
type record struct {
	state      uint64
	generation uint64
	file       file
	unique     uint64
	id         int32
}

// file is a file of an image; a later image of the same number has another
// generation.
type file struct{ node, image uint64 }

// ownOpens is a table that nobody takes over.
func ownOpens(slots int) *opens { return emptyOpens(make([]uint64, slotWords*(1+slots))) }

func emptyOpens(words []uint64) *opens {
	words[headMagic], words[headVersion] = opensMagic, opensVersion
	words[headSlots] = uint64(len(words)/slotWords - 1)
	return &opens{words: words}
}

const opensSize = 8 * slotWords * (1 + maxOpens)

// createOpens makes an empty table in a file; in none if path is empty.
func createOpens(path string) (*opens, error) {
	if path == "" {
		b, err := unix.Mmap(-1, 0, opensSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
		return mappedOpens(b, err, emptyOpens)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("making the table of open files: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the table of open files: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(opensSize); err != nil {
		return nil, fmt.Errorf("making the table of open files: %w", err)
	}
	b, err := mapShared(f)
	return mappedOpens(b, err, emptyOpens)
}

// loadOpens takes over the table of an earlier process.
func loadOpens(path string) (*opens, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("the table of open files: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != opensSize || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("the table of open files: %w: it is not a file of %d bytes", errOpens, opensSize), err)
	}
	b, err := mapShared(f)
	o, err := mappedOpens(b, err, func(words []uint64) *opens { return &opens{words: words} })
	if err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("the table of open files: %w", err), o.close())
	}
	return o, nil
}

func mapShared(f *os.File) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, opensSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func mappedOpens(b []byte, err error, open func([]uint64) *opens) (*opens, error) {
	if err != nil {
		return nil, fmt.Errorf("mapping the table of open files: %w", err)
	}
	o := open(unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), len(b)/8))
	o.mapped = b
	return o, nil
}

func (o *opens) close() error {
	b := o.mapped
	o.words, o.mapped = nil, nil
	if b == nil {
		return nil
	}
	return unix.Munmap(b)
}

// errOpens is a table that no process of this version wrote.
var errOpens = errors.New("it is damaged, or of another version")

// check refuses what was not written here, and finds the free slots.
func (o *opens) check() error {
	w := o.words
	used, slots := w[headUsed], uint64(len(w)/slotWords-1)
	if w[headMagic] != opensMagic || w[headVersion] != opensVersion || w[headSlots] != slots ||
		used > slots || w[headIntent] > 1 || w[headLast] > 1<<31-1 {
		return errOpens
	}
	ids := map[file]int32{}
	for slot := range uint32(used) {
		e := o.record(slot)
		if e.state == slotFree {
			o.free = append(o.free, slot)
			continue
		}
		image, _ := splitNode(e.file.node)
		known := ids[e.file]
		_, again := ids[e.file]
		if e.state > slotClosing || image == 0 || e.unique == 0 || e.unique&resent != 0 ||
			o.slot(slot)[slotID] > w[headLast]+w[headIntent] || again && e.state == slotOpen && known != e.id {
			return errOpens
		}
		if e.state == slotOpen {
			ids[e.file] = e.id
		}
	}
	slices.Reverse(o.free)
	return nil
}

func (o *opens) slot(slot uint32) []uint64 {
	at := slotWords * (1 + int(slot))
	return o.words[at : at+slotWords : at+slotWords]
}

func (o *opens) record(slot uint32) record {
	w := o.slot(slot)
	state := atomic.LoadUint64(&w[slotState])
	return record{
		state: state & 3, generation: state >> 2 & generationMask,
		file: file{w[slotNode], w[slotImage]}, unique: w[slotUnique], id: int32(w[slotID]),
	}
}

// room is a free slot, if there is one.
func (o *opens) room() (slot uint32, ok bool) {
	if n := len(o.free); n > 0 {
		return o.free[n-1], true
	}
	used := o.words[headUsed]
	return uint32(used), used < o.words[headSlots]
}

// put fills the slot that room gave, and gives its file handle.
func (o *opens) put(slot uint32, f file, unique uint64, id int32) (fh uint64) {
	w, generation := o.slot(slot), o.record(slot).generation
	store(w, slotNode, f.node)
	store(w, slotImage, f.image)
	store(w, slotUnique, unique)
	store(w, slotID, uint64(id))
	if n := len(o.free); n > 0 {
		o.free = o.free[:n-1]
	} else {
		store(o.words, headUsed, uint64(slot)+1)
	}
	store(w, slotState, generation<<2|slotOpen)
	return o.handle(slot)
}

// handle is the file handle of a slot in use.
func (o *opens) handle(slot uint32) uint64 {
	return handleBit | o.record(slot).generation<<32 | uint64(slot)
}

// find is the slot of a file handle, if that is open still.
func (o *opens) find(fh uint64) (slot uint32, ok bool) {
	slot = uint32(fh)
	if fh&handleBit == 0 || uint64(slot) >= o.words[headUsed] {
		return 0, false
	}
	e := o.record(slot)
	return slot, e.state == slotOpen && e.generation == fh>>32&generationMask
}

// closing marks a slot of which the backing id is being given back.
func (o *opens) closing(slot uint32) {
	store(o.slot(slot), slotState, o.record(slot).generation<<2|slotClosing)
}

// clear frees a slot; its file handle means nothing from now on.
func (o *opens) clear(slot uint32) {
	store(o.slot(slot), slotState, (o.record(slot).generation+1)&generationMask<<2|slotFree)
	o.free = append(o.free, slot)
}

// intend notes that a backing id is about to be registered. The kernel counts ids
// up, so that one which was registered and not noted is the last one's successor.
func (o *opens) intend() { store(o.words, headIntent, 1) }

// registered notes the end of that; id is 0 if there is none.
func (o *opens) registered(id int32) {
	if id > 0 {
		store(o.words, headLast, uint64(id))
	}
	store(o.words, headIntent, 0)
}

// intended is the backing id that may have been registered and not noted, or 0.
func (o *opens) intended() int32 {
	if o.words[headIntent] == 0 {
		return 0
	}
	return int32(o.words[headLast] + 1)
}

// used has the slots that are not free.
func (o *opens) used(yield func(uint32, record) bool) {
	for slot := range uint32(o.words[headUsed]) {
		if e := o.record(slot); e.state != slotFree && !yield(slot, e) {
			return
		}
	}
}

// store is not reordered with other stores, by the compiler or the processor.
func store(words []uint64, at int, v uint64) { atomic.StoreUint64(&words[at], v) }
