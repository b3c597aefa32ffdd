//go:build linux

package fuse

import (
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// kernelIDs are the backing ids of a connection: counted up, and never used twice.
type kernelIDs struct {
	last int32
	open map[int32]bool
}

func (k *kernelIDs) register() int32 {
	k.last++
	k.open[k.last] = true
	return k.last
}

func (k *kernelIDs) unregister(id int32) error {
	if !k.open[id] {
		return unix.ENOENT
	}
	delete(k.open, id)
	return nil
}

// stopped is thrown by a step to end a process in the middle.
type stopped struct{}

// life is a process that ends by itself at a random step.
func life(t *testing.T, path string, k *kernelIDs, random *rand.Rand) *backings {
	t.Helper()
	table, err := loadOpens(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &backings{}
	if err := b.use(table); err != nil {
		t.Fatal(err)
	}
	if err := b.finish(k.unregister); err != nil {
		t.Fatal(err)
	}
	left := random.IntN(60)
	b.step = func(string) {
		if left--; left < 0 {
			panic(stopped{})
		}
	}
	return b
}

// try runs a step of a life; false if it ended the process.
func try(do func()) (lived bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(stopped); !ok {
				panic(r)
			}
		}
	}()
	do()
	return true
}

// What the kernel sees is the same as if one process had lived all the time.
func TestOpensSurviveAnyEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "opens")
	table, err := createOpens(path)
	if err != nil {
		t.Fatal(err)
	}
	table.close()
	random := rand.New(rand.NewPCG(1, 2))
	k := &kernelIDs{open: map[int32]bool{}}
	b := life(t, path, k, random)
	ask := newAsker()
	for range 20_000 {
		if !try(func() { ask.step(t, b, k, random) }) {
			b.table.close()
			b = life(t, path, k, random)
			ask.again = true
		}
	}
	b.step = nil
	for len(ask.files) > 0 || ask.pending != nil {
		ask.finish(t, b, k)
	}
	for range b.table.used {
		t.Error("a slot is in use")
	}
	if len(k.open) > 0 || len(b.current)+len(b.slots)+len(b.resent) > 0 {
		t.Errorf("%d ids, %d files, %d slots, %d requests are left", len(k.open), len(b.current), len(b.slots), len(b.resent))
	}
	b.table.close()
}

// asker is the kernel: it opens and closes files, and repeats what was not answered.
type asker struct {
	unique  uint64
	files   map[file][]opened // open, as answered
	pending func(*testing.T, *backings, *kernelIDs)
	again   bool
}

func newAsker() *asker { return &asker{files: map[file][]opened{}} }

func (a *asker) step(t *testing.T, b *backings, k *kernelIDs, random *rand.Rand) {
	if a.pending == nil {
		f := file{nodeOf(1, uint64(1+random.IntN(5))), 9}
		a.unique += 2
		if open := a.files[f]; len(open) > 0 && random.IntN(2) == 0 {
			a.close(f, random.IntN(len(open)))
		} else {
			a.open(f, random.IntN(3) > 0)
		}
		a.again = false
	}
	a.pending(t, b, k)
}

func (a *asker) open(f file, through bool) {
	unique := a.unique
	a.pending = func(t *testing.T, b *backings, k *kernelIDs) {
		n := unique
		if a.again {
			n |= resent
		}
		o, st := b.take(f, n, func() int32 {
			if !through {
				return 0
			}
			return k.register()
		})
		if st != gofuse.OK {
			t.Fatal(st)
		}
		if o.id > 0 && !k.open[o.id] {
			t.Fatalf("id %d is not registered", o.id)
		}
		if open := a.files[f]; len(open) > 0 && open[0].id != o.id {
			t.Fatalf("id %d, not %d", o.id, open[0].id)
		}
		for _, all := range a.files {
			for _, other := range all {
				if other.fh == o.fh {
					t.Fatalf("two files have the handle %x", o.fh)
				}
			}
		}
		a.files[f] = append(a.files[f], o)
		a.pending = nil
	}
}

// close takes the file from the open ones at once, as the kernel does.
func (a *asker) close(f file, i int) {
	fh := a.files[f][i].fh
	a.files[f] = append(a.files[f][:i:i], a.files[f][i+1:]...)
	if len(a.files[f]) == 0 {
		delete(a.files, f)
	}
	a.pending = func(_ *testing.T, b *backings, k *kernelIDs) {
		b.release(fh, k.unregister)
		a.pending = nil
	}
}

func (a *asker) finish(t *testing.T, b *backings, k *kernelIDs) {
	if a.pending == nil {
		for f := range a.files {
			a.close(f, 0)
			break
		}
	}
	a.pending(t, b, k)
}

func TestFullTableSaysSo(t *testing.T) {
	b := &backings{}
	if err := b.use(ownOpens(2)); err != nil {
		t.Fatal(err)
	}
	f := file{nodeOf(1, 1), 1}
	first, _ := b.take(f, 2, func() int32 { return 0 })
	b.take(f, 4, nil)
	if _, st := b.take(f, 6, nil); st != gofuse.Status(syscall.ENFILE) {
		t.Errorf("a third open of two: %v", st)
	}
	b.release(first.fh, nil)
	b.release(first.fh, nil) // means nothing any more
	again, st := b.take(f, 8, nil)
	if st != gofuse.OK || again.fh == first.fh || uint32(again.fh) != uint32(first.fh) {
		t.Errorf("after a close: %v, %x and %x", st, first.fh, again.fh)
	}
}

// A later image of the same number gets none of this one's files.
func TestOpensAreOfOneImage(t *testing.T) {
	b := &backings{}
	if err := b.use(ownOpens(8)); err != nil {
		t.Fatal(err)
	}
	b.take(file{nodeOf(1, 1), 1}, 2, func() int32 { return 5 })
	if o, _ := b.take(file{nodeOf(1, 1), 2}, 4, func() int32 { return 0 }); o.id != 0 {
		t.Errorf("it got the backing id %d", o.id)
	}
}

func FuzzOpens(f *testing.F) {
	good := ownOpens(4)
	b := &backings{}
	if err := b.use(good); err != nil {
		f.Fatal(err)
	}
	b.take(file{nodeOf(1, 1), 1}, 2, func() int32 { return 1 })
	b.take(file{nodeOf(1, 2), 1}, 4, func() int32 { return 0 })
	good.closing(1)
	f.Add(unsafe.Slice((*byte)(unsafe.Pointer(&good.words[0])), 8*len(good.words)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		words := make([]uint64, max(len(raw)/64*8, slotWords))
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words)), raw)
		o := &opens{words: words}
		if o.check() != nil {
			return
		}
		b := &backings{}
		if err := b.use(o); err != nil {
			t.Fatal(err)
		}
		k := &kernelIDs{open: map[int32]bool{}}
		if err := b.finish(k.unregister); err != nil {
			t.Fatal(err)
		}
		if err := o.check(); err != nil {
			t.Errorf("after it was taken over: %v", err)
		}
		for slot := range o.used {
			b.release(o.handle(slot), k.unregister)
		}
		for range o.used {
			t.Error("a slot is left")
		}
	})
}
