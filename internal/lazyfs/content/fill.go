//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

const (
	// linePiece is how many blocks the fill asks for at once at line rate: enough
	// that the swarm has a choice, little enough to stop soon.
	linePiece = 64 << 20 / chunk.BlockSize
	// fillPatience bounds how long a piece waits for reads to have none missing: a
	// read that nobody can answer must not stop the rest.
	fillPatience = 2 * time.Second
	// The pauses after a round that did not bring everything.
	fillPause, fillPauseLimit = time.Second, 30 * time.Second
)

// piece is a run of blocks for the fill.
type piece struct {
	object     *object
	first, end int
}

// Fill brings all that is missing, behind what reads want, until the image is
// complete or ctx ends. tell hears of rounds in which something failed, and once of
// a [RoomError]: an image that does not fit into the store is left to its readers
// until it does.
func (m *Image) Fill(ctx context.Context, tell func(error)) error {
	m.table.metric.filling.Inc()
	defer m.table.metric.filling.Dec()
	pause := fillPause
	for {
		before := m.Progress().Present
		m.Learn(ctx)
		err := m.fits(ctx)
		if err == nil {
			err = m.fillRound(ctx)
		} else {
			pause = fillPauseLimit
		}
		select {
		case <-m.done:
			return nil
		default:
		}
		if errors.Is(err, nodeapi.ErrAbsent) {
			err = errors.Join(err, m.reopen(ctx))
		}
		if m.news(err) && ctx.Err() == nil {
			tell(err)
		}
		if m.Progress().Present > before {
			pause = fillPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, fillPauseLimit)
	}
}

// learners is how many objects are looked at at a time.
const learners = 8

// Learn finds out what of the image is here already: from the peer, or if it is
// away by hashing.
func (m *Image) Learn(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(learners)
	for _, o := range m.distinct() {
		if o.complete.Load() || ctx.Err() != nil {
			continue
		}
		group.Go(func() error {
			if !m.table.away.Load() {
				if err := o.learn(ctx, m, math.MaxInt); !errors.Is(err, nodeapi.ErrAway) {
					return nil // not here, or for the round to tell
				}
			}
			for i := range chunk.Count(o.size) {
				first, end := chunk.ChunkBlocks(o.size, i)
				if ctx.Err() != nil || !o.prove(m, first, end) && i == 0 && !o.exists() {
					break
				}
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return nil
}

func (o *object) exists() bool {
	if _, err := o.acquire(); err != nil {
		return false
	}
	o.release()
	return true
}

// fillRound asks once for everything that is missing, and gives the first error.
// The pieces are in random order, so that many nodes that start one image at a
// time begin with different ones, which they can trade.
func (m *Image) fillRound(ctx context.Context) error {
	pieces := m.missingPieces()
	rand.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	var group sync.WaitGroup
	var first error
	var once sync.Once
	var failed atomic.Int64
	for _, p := range pieces {
		if failed.Load() >= maxFailures || !m.mayFill(ctx, p) {
			break
		}
		group.Go(func() {
			defer func() { <-m.filling }()
			if err := p.object.ask(ctx, m, p.first, p.end, byFill); err != nil {
				failed.Add(1)
				once.Do(func() { first = fmt.Errorf("filling %s: %w", p.object.digest, err) })
			}
		})
	}
	group.Wait()
	return first
}

// maxFailures ends a round: whatever it is concerns more than one piece.
const maxFailures = 16

// mayFill waits for the fill's turn: a free place, its share of the rate, and no
// read that waits. A true answer has taken a place.
func (m *Image) mayFill(ctx context.Context, p piece) bool {
	select {
	case m.filling <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	t := m.table
	t.quiet.wait(ctx, fillPatience)
	if t.limit != nil {
		first := int64(p.first) * chunk.BlockSize
		_ = t.limit.WaitN(ctx, int(min(int64(p.end)*chunk.BlockSize, p.object.size)-first)) // ctx is looked at below
	}
	if ctx.Err() != nil {
		<-m.filling
		return false
	}
	return true
}

func (m *Image) missingPieces() (pieces []piece) {
	most := linePiece
	if m.table.limit != nil {
		most = chunk.BlocksPerChunk
	}
	for _, o := range m.distinct() {
		o.mu.Lock()
		for b := o.have.NextClear(0); b < o.have.Len(); {
			end := min(b+most, o.have.NextSet(b))
			pieces = append(pieces, piece{o, b, end})
			b = o.have.NextClear(end)
		}
		o.mu.Unlock()
	}
	return pieces
}
