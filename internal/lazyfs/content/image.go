//go:build linux

package content

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// Source says where the peer gets an image's bytes.
type Source struct {
	Registry, Repository string
	// Reopen has the image's layers derived anew, for when nobody has its bytes.
	Reopen func(context.Context) error
}

// Image is the content of one image.
type Image struct {
	table   *Table
	number  int64     // counts up with each image; the table's lock
	objects []*object // the same order; an object that is named twice is twice
	source  atomic.Pointer[Source]
	done    chan struct{}

	ctx             context.Context // ends reading ahead
	stop            context.CancelFunc
	demand, filling chan struct{} // a token for each request
	ahead           ahead

	missing int // distinct objects that are not complete; the table's lock

	counts [4]atomic.Int64 // bytes that became present for this image, by reason

	noRoom atomic.Pointer[RoomError] // nil while the image fits

	reopening sync.Mutex // held while Reopen runs
	reopened  time.Time
}

// Image adds an image with its tree's devices to the table.
func (t *Table) Image(source Source, devices []erofs.Device) *Image {
	m := &Image{
		table: t, objects: make([]*object, len(devices)), done: make(chan struct{}),
		demand: make(chan struct{}, t.cfg.Demand), filling: make(chan struct{}, t.cfg.Fill),
	}
	m.ctx, m.stop = context.WithCancel(t.ctx)
	m.source.Store(&source)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.images++
	m.number = t.images
	for i, d := range devices {
		m.objects[i] = t.take(d.Object, d.Size, m)
	}
	m.announce()
	return m
}

// announce closes done once nothing is missing. The table's lock is held.
func (m *Image) announce() {
	if m.missing > 0 {
		return
	}
	select {
	case <-m.done:
	default:
		close(m.done)
		m.table.metric.filled.Inc()
	}
}

// SetSource changes where bytes come from.
func (m *Image) SetSource(s Source) { m.source.Store(&s) }

// Done is closed when all of the image is here.
func (m *Image) Done() <-chan struct{} { return m.done }

// Whole tells whether nothing is missing, as [Progress.Whole] does, and counts
// nothing.
func (m *Image) Whole() bool {
	return !slices.ContainsFunc(m.objects, func(o *object) bool { return !o.complete.Load() })
}

// Close ends reading ahead, and gives the image's objects back. Its handles were
// closed before.
func (m *Image) Close() {
	m.stop()
	for _, o := range m.distinct() {
		m.table.give(o, m)
	}
}

// distinct are the objects without repetition.
func (m *Image) distinct() []*object {
	seen := make(map[*object]bool, len(m.objects))
	list := make([]*object, 0, len(m.objects))
	for _, o := range m.objects {
		if !seen[o] {
			seen[o] = true
			list = append(list, o)
		}
	}
	return list
}

// Objects are the names of the image's objects, without repetition.
func (m *Image) Objects() []chunk.Digest {
	var names []chunk.Digest
	for _, o := range m.distinct() {
		names = append(names, o.digest)
	}
	return names
}

// Progress is how much of an image is here.
type Progress struct {
	Objects  int   `json:"objects"`
	Complete int   `json:"complete_objects"`
	Bytes    int64 `json:"bytes"`
	Present  int64 `json:"present_bytes"`
	// Became says why bytes became present since the image was mounted: store,
	// demand, ahead, fill.
	Became map[string]int64 `json:"became_present,omitempty"`
	// NoRoom says why the rest is not brought in the background.
	NoRoom string `json:"no_room,omitempty"`
}

// Fetched are the bytes that came since the image was mounted.
func (p Progress) Fetched() int64 {
	return p.Became[byDemand] + p.Became[byAhead] + p.Became[byFill]
}

// Whole tells whether nothing is missing.
func (p Progress) Whole() bool { return p.Complete == p.Objects }

// Progress counts.
func (m *Image) Progress() Progress {
	p := Progress{Became: map[string]int64{}}
	if e := m.noRoom.Load(); e != nil {
		p.NoRoom = e.Error()
	}
	for _, o := range m.distinct() {
		p.Objects++
		p.Bytes += o.size
		p.Present += o.presentBytes()
		if o.complete.Load() {
			p.Complete++
		}
	}
	for i, reason := range reasons {
		if n := m.counts[i].Load(); n > 0 {
			p.Became[reason] = n
		}
	}
	return p
}

var reasons = [...]string{byStore, byDemand, byAhead, byFill}

func (m *Image) count(reason string, n int64) {
	m.table.metric.bytes.WithLabelValues(reason).Add(float64(n))
	for i, r := range reasons {
		if r == reason {
			m.counts[i].Add(n)
		}
	}
}

// reopenEvery bounds how often an image is derived anew.
const reopenEvery = 10 * time.Second

// reopen has the image derived anew, unless that was just done.
func (m *Image) reopen(ctx context.Context) error {
	m.reopening.Lock()
	defer m.reopening.Unlock()
	source := m.source.Load()
	if source.Reopen == nil || time.Since(m.reopened) < reopenEvery {
		return nil
	}
	defer func() { m.reopened = time.Now() }()
	if err := source.Reopen(ctx); err != nil {
		return fmt.Errorf("deriving the image anew: %w", err)
	}
	return nil
}

// Open opens an object of the image.
func (m *Image) Open(d chunk.Digest, size int64) (*Handle, error) {
	for _, o := range m.objects {
		if o.digest == d && o.size == size {
			return o.open(m)
		}
	}
	return nil, fmt.Errorf("the image has no object %s of %d bytes", d, size)
}

// Usage is what the image takes on this node's disk, in bytes and files. An
// object of several images counts for the one that was added first.
func (m *Image) Usage() (bytes, files int64) {
	for _, o := range m.distinct() {
		if m.table.first(o) != m {
			continue
		}
		if n := o.presentBytes(); n > 0 {
			bytes, files = bytes+n, files+1
		}
	}
	return bytes, files
}
