package simulation

import (
	"context"
	"errors"
	"sync"
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
}

// pipe connects two nodes.
func pipe(a, b distribution.NodeID) (*stream, *stream) {
	gone, once := make(chan struct{}), &sync.Once{}
	x := &stream{remote: b, in: make(chan distribution.Message, 1<<14), once: once, gone: gone}
	y := &stream{remote: a, in: make(chan distribution.Message, 1<<14), once: once, gone: gone}
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
