//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// ErrReplaced says that the store has another file under an object's name than
// the one that is open here; what is open cannot become whole any more.
var ErrReplaced = errors.New("the store's file was replaced; unmount the image and mount it again")

// object is what is known of one object of the store.
type object struct {
	table  *Table
	digest chunk.Digest
	size   int64
	images map[*Image]bool // the table's lock
	whole  bool            // its images know that it is complete; the table's lock

	complete atomic.Bool
	file     atomic.Pointer[os.File] // set while handles are open and the store has it

	mu       sync.Mutex
	have     *chunk.Bitmap // blocks that are here and verified
	id       identity      // of the file that have speaks of
	peeked   *diskstore.Peeked
	users    int  // of peeked
	held     bool // one of the users is the handles
	handles  int
	replaced bool
	asked    map[int]int // how many requests for a block, of readers or ahead of them, run or wait
	bad      map[int]chunk.Digest

	proving sync.Mutex // held while its bytes are hashed
}

func newObject(t *Table, d chunk.Digest, size int64) *object {
	o := &object{
		table: t, digest: d, size: size, images: map[*Image]bool{},
		have:  chunk.NewBitmap(chunk.BlockCount(size)),
		asked: map[int]int{}, bad: map[int]chunk.Digest{},
	}
	o.complete.Store(size == 0)
	o.whole = size == 0
	return o
}

// acquire opens the store's file, or shares it with others; release it once.
func (o *object) acquire() (*diskstore.Peeked, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.peeked == nil {
		if err := o.peek(); err != nil {
			return nil, err
		}
	}
	o.users++
	return o.peeked, nil
}

// peek opens the store's file, unless it is another than it was.
// o.mu is held.
func (o *object) peek() error {
	p, err := diskstore.Peek(o.table.dir(), o.digest)
	if err != nil {
		return err
	}
	id, err := identifyFile(p.File().Fd())
	if err == nil && p.Size() != o.size {
		err = fmt.Errorf("%w: the store has %s with %d bytes, the image with %d", chunk.ErrSize, o.digest, p.Size(), o.size)
	}
	if err != nil {
		return errors.Join(err, p.Close())
	}
	if o.id != id && o.id != (identity{}) {
		o.replaced = true
		return errors.Join(fmt.Errorf("%s: %w", o.digest, ErrReplaced), p.Close())
	}
	o.id, o.peeked = id, p
	return nil
}

func (o *object) isReplaced() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replaced
}

func (o *object) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.releaseLocked()
}

func (o *object) releaseLocked() {
	if o.users--; o.users > 0 {
		return
	}
	if err := o.peeked.Close(); err != nil {
		o.table.log.Debug("closing a file of the store", "object", o.digest.String(), "error", err)
	}
	o.peeked = nil
}

// adopt takes the peer's word, or that of a proof, that blocks are here.
func (o *object) adopt(have *chunk.Bitmap, m *Image, reason string) error {
	if _, err := o.acquire(); err != nil {
		return err
	}
	defer o.release()
	now, err := identifyPath(o.table.path(o.digest))
	if err != nil {
		return err
	}
	gained, whole, err := o.merge(have, now)
	if err != nil {
		return err
	}
	m.count(reason, gained)
	if whole && !o.complete.Swap(true) {
		o.table.completed(o)
	}
	return nil
}

func (o *object) merge(have *chunk.Bitmap, now identity) (gained int64, whole bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now != o.id {
		o.replaced = true
		return 0, false, fmt.Errorf("%s: %w", o.digest, ErrReplaced)
	}
	for b := have.NextSet(0); b < have.Len(); b = have.NextSet(b + 1) {
		if o.have.Set(b) {
			gained += chunk.BlockLength(o.size, b)
		}
	}
	if o.handles > 0 {
		o.hold()
	}
	return gained, o.have.Full(), nil
}

// hold keeps the file open for the handles. o.mu is held, and peeked is open.
func (o *object) hold() {
	if !o.held {
		o.held = true
		o.users++
		o.file.Store(o.peeked.File())
	}
}

func (o *object) presentBytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := int64(o.have.Count()) * chunk.BlockSize
	if last := o.have.Len() - 1; o.have.Has(last) {
		n -= chunk.BlockSize - chunk.BlockLength(o.size, last)
	}
	return n
}

// blocks is the range [first, end) of blocks that bytes lie in.
func (o *object) blocks(off, n int64) (first, end int) {
	return int(off / chunk.BlockSize), chunk.BlockCount(min(off+n, o.size))
}

// present tells whether blocks are here.
func (o *object) present(first, end int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.have.NextClear(first) >= end
}

// ask has the peer bring blocks, and takes in what it says is here.
func (o *object) ask(ctx context.Context, m *Image, first, end int, reason string) error {
	source := m.source.Load()
	off := int64(first) * chunk.BlockSize
	o.table.metric.requests.WithLabelValues(reason).Inc()
	have, err := o.table.peer.Fetch(ctx, nodeapi.FetchRequest{
		Object: o.digest, Size: o.size, Offset: off, Length: min(int64(end)*chunk.BlockSize, o.size) - off,
		Registry: source.Registry, Repository: source.Repository, Ahead: reason == byAhead, Background: reason == byFill,
	})
	if err == nil {
		o.table.away.Store(false)
		err = o.adopt(have, m, reason)
	} else if errors.Is(err, nodeapi.ErrAway) {
		o.table.away.Store(true)
	}
	if err != nil {
		o.table.metric.failed.Inc()
		return err
	}
	if !o.present(first, end) {
		return fmt.Errorf("the peer says that bytes of %s are here, but not which", o.digest)
	}
	return nil
}
