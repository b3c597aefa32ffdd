package node

import (
	"context"
	"errors"
	"sync"
)

// ErrSlow: the other side did not take messages in time, so the stream was
// closed.
var ErrSlow = errors.New("the other node takes messages too slowly")

// ErrClosed: the stream was closed on this side.
var ErrClosed = errors.New("stream is closed")

// queue holds frames that wait to be written, as one run of bytes, so that all
// that gathered during a write goes out in the next. It is bounded in frames
// and bytes; a single frame always fits an empty queue.
type queue struct {
	maxFrames, maxBytes int

	mu     sync.Mutex
	buf    []byte
	frames int
	err    error         // set once: no more puts
	ready  chan struct{} // holds a token when there is something, or err
	room   chan struct{} // closed and renewed when the queue was emptied
}

func newQueue(maxFrames, maxBytes int) *queue {
	return &queue{
		maxFrames: maxFrames, maxBytes: maxBytes,
		ready: make(chan struct{}, 1), room: make(chan struct{}),
	}
}

// put appends a frame, waiting for room until ctx ends, which is ErrSlow.
func (q *queue) put(ctx context.Context, frame []byte) error {
	for {
		room, err := q.tryPut(frame)
		if room == nil || err != nil {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return errors.Join(ErrSlow, ctx.Err())
		}
	}
}

// tryPut appends the frame, or gives the channel to wait on for room.
func (q *queue) tryPut(frame []byte) (<-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return nil, q.err
	}
	if q.frames > 0 && (q.frames >= q.maxFrames || len(q.buf)+len(frame) > q.maxBytes) {
		return q.room, nil
	}
	q.buf = append(q.buf, frame...)
	q.frames++
	q.wake()
	return nil, nil
}

// take gives all that waits, and how many frames, leaving spare as the next
// buffer. Nothing waits and the queue is closed: its error.
func (q *queue) take(spare []byte) ([]byte, int, error) {
	for {
		q.mu.Lock()
		if q.frames > 0 {
			buf, n := q.buf, q.frames
			q.buf, q.frames = spare[:0], 0
			close(q.room)
			q.room = make(chan struct{})
			q.mu.Unlock()
			return buf, n, nil
		}
		err := q.err
		q.mu.Unlock()
		if err != nil {
			return nil, 0, err
		}
		<-q.ready
	}
}

// close ends the queue; what waits can still be taken if keep says so.
func (q *queue) close(err error, keep bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		close(q.room)
		q.room = make(chan struct{})
	}
	if !keep {
		q.buf, q.frames = nil, 0
	}
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
