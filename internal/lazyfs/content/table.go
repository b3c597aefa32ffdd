//go:build linux

package content

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Peer is whom missing bytes are asked of; a [nodeapi.Client] is one.
type Peer interface {
	Fetch(ctx context.Context, r nodeapi.FetchRequest) (*chunk.Bitmap, error)
	// Room is the most bytes that its store can come to hold; -1 is no bound.
	Room(ctx context.Context) (int64, error)
}

// Config bounds what is asked of the peer at a time. The numbers are for each image,
// so that one whose bytes nobody has keeps none from its own.
type Config struct {
	Demand int // requests that reads wait for
	Ahead  int // requests ahead of reads
	// Fill is how many pieces the background fill has in flight, FillRate its
	// bytes per second over all images; 0 is no bound.
	Fill     int
	FillRate int64
	// Attempt is how long a request may take before it makes room for others.
	Attempt time.Duration
}

// Default is for one node.
func Default() Config {
	return Config{Demand: 64, Ahead: 8, Fill: 4, Attempt: 30 * time.Second}
}

// Table has the objects of all images, each once.
type Table struct {
	cfg    Config
	peer   Peer
	dir    func() string
	log    *slog.Logger
	metric *Metrics

	ctx  context.Context // ends reading ahead
	stop context.CancelFunc
	runs sync.WaitGroup // grows under the lock, and not after stop

	away  atomic.Bool   // the last request found no peer
	limit *rate.Limiter // nil is none
	quiet quiet

	mu      sync.Mutex
	objects map[chunk.Digest]*object
	images  int64 // that there have been
}

// New is a table over the store whose directory dir tells.
func New(cfg Config, peer Peer, dir func() string, log *slog.Logger, metric *Metrics) *Table {
	t := &Table{
		cfg: cfg, peer: peer, dir: dir, log: log, metric: metric,
		objects: map[chunk.Digest]*object{},
	}
	if cfg.FillRate > 0 {
		t.limit = rate.NewLimiter(rate.Limit(cfg.FillRate), chunk.Size)
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// Close ends reading ahead, and waits for it. Fills and fetches were ended before.
func (t *Table) Close() {
	t.mu.Lock()
	t.stop()
	t.mu.Unlock()
	t.runs.Wait()
}

// run starts f, for which Close waits, unless that was called.
func (t *Table) run(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.runs.Go(f)
	return true
}

// Away tells whether the last request found no peer.
func (t *Table) Away() bool { return t.away.Load() }

// path is where the store keeps an object's bytes.
func (t *Table) path(d chunk.Digest) string { return diskstore.Path(t.dir(), d) }

// take is the object of a name, for one more image; give gives it back. The
// table's lock is held.
func (t *Table) take(d chunk.Digest, size int64, image *Image) *object {
	o := t.objects[d]
	if o == nil || o.size != size || o.isReplaced() {
		o = newObject(t, d, size)
		t.objects[d] = o
	}
	if !o.images[image] && !o.whole {
		image.missing++
	}
	o.images[image] = true
	return o
}

func (t *Table) give(o *object, image *Image) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(o.images, image)
	if len(o.images) == 0 && t.objects[o.digest] == o {
		delete(t.objects, o.digest)
	}
}

// first is the image that has an object longest.
func (t *Table) first(o *object) *Image {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first *Image
	for m := range o.images {
		if first == nil || m.number < first.number {
			first = m
		}
	}
	return first
}

// completed tells the images of an object that it is whole.
func (t *Table) completed(o *object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o.whole = true
	for image := range o.images {
		image.missing--
		image.announce()
	}
}

// quiet tells when no read waits.
type quiet struct {
	mu      sync.Mutex
	waiting int
	none    chan struct{} // closed when waiting falls to 0; nil while it is 0
}

func (q *quiet) add(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == 0 {
		q.none = make(chan struct{})
	}
	if q.waiting += n; q.waiting == 0 {
		close(q.none)
		q.none = nil
	}
}

// wait returns when no read waits, or patience or ctx ends.
func (q *quiet) wait(ctx context.Context, patience time.Duration) {
	q.mu.Lock()
	none := q.none
	q.mu.Unlock()
	if none == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	case <-ctx.Done():
	}
}
