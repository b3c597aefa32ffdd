//go:build linux

package fuse

import (
	"errors"
	"sync"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// backings has the open files that are, or could be, in passthrough. The kernel
// refuses an open with EIO if the inode is open already in the other way, or with
// another backing id. So the first open of a file decides for all, until the last
// one is closed, in whatever process that is.
type backings struct {
	mu      sync.Mutex
	table   *opens
	current map[file]*backing
	slots   map[uint32]*backing
	resent  map[uint64]uint32 // slots that an earlier process filled, by number of the OPEN request
	step    func(string)      // tests end the process at it
}

type backing struct {
	file  file
	opens int
	id    int32 // 0: not in passthrough
}

// fewOpens is room for what is opened without a mount.
const fewOpens = 1 << 10

// init forgets all. The kernel drops backing ids with their connection.
func (b *backings) init() error { return b.use(ownOpens(fewOpens)) }

// use goes on with a table.
func (b *backings) use(table *opens) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.table != nil {
		err = b.table.close()
	}
	b.table, b.current, b.slots, b.resent = table, map[file]*backing{}, map[uint32]*backing{}, map[uint64]uint32{}
	for slot, e := range table.used {
		if e.state == slotOpen {
			b.count(slot, e.file, e.id)
			b.resent[e.unique] = slot
		}
	}
	return err
}

func (b *backings) count(slot uint32, f file, id int32) {
	e := b.current[f]
	if e == nil {
		e = &backing{file: f, id: id}
		b.current[f] = e
	}
	e.opens++
	b.slots[slot] = e
}

func (b *backings) at(step string) {
	if b.step != nil {
		b.step(step)
	}
}

// opened is what the answer to an OPEN request says.
type opened struct {
	fh uint64
	id int32 // 0: not in passthrough
}

// known tells whether a file is open, so that the way is decided.
func (b *backings) known(f file) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current[f] != nil
}

// take counts an open. The first one of a file decides by register, which gives a
// backing id, or 0, and does not block. All is in the table before the kernel is
// answered; the same request, sent again because a process ended, gets the same
// answer.
func (b *backings) take(f file, unique uint64, register func() int32) (opened, gofuse.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slot, ok := b.resent[unique&^resent]; ok && unique&resent != 0 && b.slots[slot] != nil && b.slots[slot].file == f {
		return opened{b.table.handle(slot), b.slots[slot].id}, gofuse.OK
	}
	slot, ok := b.table.room()
	if !ok {
		return opened{}, gofuse.Status(syscall.ENFILE)
	}
	e := b.current[f]
	var id int32
	if e != nil {
		id = e.id
	} else {
		b.table.intend()
		b.at("intended")
		id = register()
		b.at("registered")
	}
	fh := b.table.put(slot, f, unique&^resent, id)
	b.at("put")
	if e == nil {
		b.table.registered(id)
		b.at("noted")
	}
	b.count(slot, f, id)
	return opened{fh, id}, gofuse.OK
}

// release counts the end of an open; handles that were not taken mean nothing,
// and neither do those that were released by an earlier process.
func (b *backings) release(fh uint64, unregister func(int32) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot, ok := b.table.find(fh)
	if !ok {
		return
	}
	e := b.slots[slot]
	delete(b.slots, slot)
	delete(b.resent, b.table.record(slot).unique)
	if e.opens--; e.opens == 0 {
		delete(b.current, e.file)
		if e.id > 0 {
			b.table.closing(slot)
			b.at("closing")
			_ = unregister(e.id) // fails only if the connection has ended, and the id with it
			b.at("unregistered")
		}
	}
	b.table.clear(slot)
	b.at("cleared")
}

// finish does what an earlier process was at when it ended.
func (b *backings) finish(unregister func(int32) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	noted := b.table.intended()
	id := noted
	for slot, e := range b.table.used {
		if e.id == noted {
			id = 0 // it is not lost
		}
		if e.state != slotClosing {
			continue
		}
		if err := unregister(e.id); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		b.table.clear(slot)
	}
	if id > 0 {
		switch err := unregister(id); {
		case errors.Is(err, unix.ENOENT):
			noted = 0 // it was not registered
		case err != nil:
			return err
		}
	}
	b.table.registered(noted)
	return nil
}

// backable tells whether the kernel may read the object's file instead of asking
// here: it is all there, and ends where the object ends, for the kernel would
// read on to the end of the file.
func (s *slot) backable() bool {
	o := s.opened()
	if o == nil || !o.Complete() {
		return false
	}
	info, err := o.File().Stat()
	return err == nil && info.Size() == s.device.Size
}
