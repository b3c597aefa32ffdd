package simulation

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// latency is one way, of a message.
const latency = 200 * time.Microsecond

var errGone = errors.New("the other side is gone")

// stream is one end of a message stream.
type stream struct {
	remote distribution.NodeID
	in     chan distribution.Message
	peer   *stream
	once   *sync.Once
	gone   chan struct{}
	counts *Counts
	mu     sync.Mutex
	sent   time.Time // the last message
}

// Counts are the messages of all streams, and in how many bursts they went:
// those that one node says to another at one instant leave in one write and wake
// the other up once.
type Counts struct{ Messages, Bursts atomic.Int64 }

func (s *stream) count() {
	s.counts.Messages.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); !now.Equal(s.sent) {
		s.sent = now
		s.counts.Bursts.Add(1)
	}
}

// pipe connects two nodes.
func pipe(a, b distribution.NodeID, counts *Counts) (*stream, *stream) {
	gone, once := make(chan struct{}), &sync.Once{}
	x := &stream{remote: b, in: make(chan distribution.Message, 1<<14), once: once, gone: gone, counts: counts}
	y := &stream{remote: a, in: make(chan distribution.Message, 1<<14), once: once, gone: gone, counts: counts}
	x.peer, y.peer = y, x
	return x, y
}

func (s *stream) Remote() distribution.NodeID { return s.remote }

// RemoteHost stands for the address that a listener sees.
func (s *stream) RemoteHost() string { return string(s.remote) }

func (s *stream) Send(ctx context.Context, m distribution.Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	select {
	case <-s.gone:
		return errGone
	default:
	}
	select {
	case s.peer.in <- m:
		s.count()
		return nil
	case <-s.gone:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) Receive(ctx context.Context) (distribution.Message, error) {
	select {
	case m := <-s.in:
		time.Sleep(latency)
		return m, nil
	case <-s.gone:
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *stream) Close() error {
	s.once.Do(func() { close(s.gone) })
	return nil
}
