package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// member is a peer with a live control stream. Messages to it queue without
// blocking; a peer that lets too many pile up is cut off.
type member struct {
	distribution.Member
	conn distribution.Conn
	// Units granted to it over all objects: those outstanding, and how many it took
	// lately (see fade); requests to origins outstanding, and the last round that began one.
	// Guarded by the coordinator's mu.
	pending, requests int
	taken             float64
	faded             time.Time
	round             uint64
	works             bool          // see Coordinator.work
	shunned           time.Time     // until when it is granted nothing from origins, if others can
	usual             time.Duration // between two signs of life of a request, smoothed
	// Images that are being derived for it. Guarded by the coordinator's mu.
	deriving int

	mu     sync.Mutex
	out    []distribution.Message
	closed bool
	ready  chan struct{}
}

// maxOutbox bounds the messages that wait for one peer.
const maxOutbox = 1 << 16

func newMember(conn distribution.Conn, m distribution.Member) *member {
	return &member{Member: m, conn: conn, ready: make(chan struct{}, 1)}
}

// tell queues a message.
func (m *member) tell(msg distribution.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if len(m.out) >= maxOutbox {
		m.closed = true
		_ = m.conn.Close()
		return
	}
	m.out = append(m.out, msg)
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *member) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
	}
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// pump sends what is queued until the member is closed.
func (m *member) pump(ctx context.Context) {
	for {
		m.mu.Lock()
		out, closed := m.out, m.closed
		m.out = nil
		m.mu.Unlock()
		for _, msg := range out {
			if err := m.conn.Send(ctx, msg); err != nil {
				_ = m.conn.Close()
				return
			}
		}
		if closed {
			return
		}
		if len(out) > 0 {
			continue
		}
		select {
		case <-m.ready:
		case <-ctx.Done():
			return
		}
	}
}
