//go:build linux

package snapshotter

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// opener is all that opening needs of the lazy file system.
type opener struct {
	Images
	open     func(ctx context.Context, tell func(done, total int64)) error
	opens    int
	released atomic.Int64
}

func (o *opener) Open(ctx context.Context, reference, _ string, tell func(done, total int64)) (*Image, error) {
	o.opens++
	if err := o.open(ctx, tell); err != nil {
		return nil, err
	}
	return &Image{Reference: reference, DiffIDs: []chunk.Digest{{1}}}, nil
}

func (o *opener) Hold(context.Context, string, *Image, int) error { return nil }
func (o *opener) Release(context.Context, string) error           { o.released.Add(1); return nil }

func newOpening(t *testing.T, patience time.Duration, o *opener) *Snapshotter {
	s := &Snapshotter{cfg: Config{Patience: patience}, images: o, openings: map[string]*opening{}}
	s.ctx, s.stop = context.WithCancel(t.Context())
	t.Cleanup(func() { s.stop(); s.tasks.Wait() })
	return s
}

// Patience counts from the last progress, and saying the same again is none.
func TestPatience(t *testing.T) {
	for name, c := range map[string]struct {
		step int64
		want string
	}{"progress": {1, ""}, "none": {0, ReasonPatience}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &opener{open: func(ctx context.Context, tell func(done, total int64)) error {
					for i := range int64(100) {
						tell(i*c.step, 100)
						select {
						case <-ctx.Done():
							return ctx.Err()
						case <-time.After(time.Second):
						}
					}
					return nil
				}}
				opened, err := newOpening(t, 10*time.Second, o).open(t.Context(), "image")
				if err != nil || (opened.why == nil) != (c.want == "") || opened.why != nil && opened.why.Class != c.want {
					t.Errorf("opening: %+v, %v, want %q", opened.why, err, c.want)
				}
			})
		})
	}
}

// Outcomes are remembered: images as long as they are held, failures shortly.
func TestOpeningsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := true
		o := &opener{open: func(context.Context, func(done, total int64)) error {
			if fails {
				return errors.New("it fails")
			}
			return nil
		}}
		s := newOpening(t, time.Second, o)
		for i, step := range []struct {
			wait  time.Duration
			fails bool
			opens int
			ok    bool
		}{
			{0, true, 1, false}, {rememberFailure, false, 1, false},
			{time.Second, false, 2, true}, {holdFor - time.Second, true, 2, true}, {holdFor + time.Second, true, 3, false},
		} {
			time.Sleep(step.wait)
			fails = step.fails
			if opened, err := s.open(t.Context(), "image"); err != nil || (opened.why == nil) != step.ok || o.opens != step.opens {
				t.Errorf("step %d: %+v, %v after %d openings", i, opened, err, o.opens)
			}
		}
	})
}

// An image is held while layers ask for it, and not for a pull that was given up.
func TestPullGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &opener{open: func(context.Context, func(done, total int64)) error { return nil }}
		s := newOpening(t, time.Second, o)
		for range 3 {
			if _, err := s.open(t.Context(), "image"); err != nil || o.released.Load() > 0 {
				t.Errorf("a layer: %v, released %d times", err, o.released.Load())
			}
			time.Sleep(holdFor - time.Second)
		}
		time.Sleep(2 * time.Second)
		if synctest.Wait(); o.released.Load() != 1 {
			t.Errorf("given up: released %d times", o.released.Load())
		}
	})
}
