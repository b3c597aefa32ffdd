package download

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// session is a live control stream to a supernode.
type session struct {
	conn   distribution.Conn
	member distribution.Member // the supernode, as whom to fetch from
	mode   distribution.OriginMode
}

const (
	minRedial = 200 * time.Millisecond
	maxRedial = 5 * time.Second
	// sendPatience bounds how long a message may wait in a full queue.
	sendPatience = 5 * time.Second
	// firstSession is how long an object waits for the very first attempt to
	// reach a supernode after the node's start.
	firstSession = time.Second
)

// control keeps a session to a supernode: on every connection it tells what the
// node holds and wants, so that a supernode without memory knows it in seconds.
func (e *Engine) control(ctx context.Context) {
	wait := minRedial
	for ctx.Err() == nil {
		s, err := e.connect(ctx)
		e.mu.Lock()
		e.tried = true
		e.mu.Unlock()
		if err == nil {
			wait = minRedial
			err = e.converse(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		e.log.Warn("no supernode: pulls go to neighbours and origins", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, maxRedial)
	}
}

// connect dials and shakes hands.
func (e *Engine) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, member, err := e.deps.Supernode(ctx)
	if err != nil {
		return nil, err
	}
	hello := e.deps.Hello
	hello.Version = distribution.ProtocolVersion
	if err := conn.Send(ctx, &hello); err != nil {
		_ = conn.Close()
		return nil, err
	}
	m, err := conn.Receive(ctx)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	welcome, ok := m.(*distribution.Welcome)
	if !ok || welcome.Version != distribution.ProtocolVersion {
		_ = conn.Close()
		return nil, distribution.ErrMessage
	}
	member.ID = conn.Remote()
	return &session{conn: conn, member: withPort(member, welcome.Chunks), mode: welcome.Mode}, nil
}

// converse announces, joins again what is being fetched, and obeys until the
// stream ends.
func (e *Engine) converse(ctx context.Context, s *session) error {
	defer s.conn.Close()
	if err := e.announce(ctx, s); err != nil {
		return err
	}
	e.mu.Lock()
	e.session = s
	close(e.sessions)
	e.sessions = make(chan struct{})
	e.mu.Unlock()
	e.log.Info("joined the supernode", "supernode", string(s.member.ID), "mode", string(s.mode))
	for _, t := range e.all() {
		t.rejoin(s)
	}
	e.deriveAgain(s)
	defer e.parted(s)
	for {
		m, err := s.conn.Receive(ctx)
		if err != nil {
			return err
		}
		e.obey(s, m)
	}
}

func (e *Engine) parted(s *session) {
	e.mu.Lock()
	if e.session == s {
		e.session = nil
	}
	e.mu.Unlock()
	for _, t := range e.all() {
		t.mu.Lock()
		t.orphan = t.member
		if up := t.supernodeLink(); up != nil {
			delete(t.links, up.member.ID)
		}
		t.signal()
		t.mu.Unlock()
		t.poke()
	}
}

// announce tells all whole, sealed objects of the store.
func (e *Engine) announce(ctx context.Context, s *session) error {
	var batch []distribution.Holding
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		m := &distribution.Announce{Holdings: batch}
		batch = nil
		return s.conn.Send(ctx, m)
	}
	for _, info := range e.deps.Store.Objects() {
		if !info.Complete() || !info.Sealed || info.Size <= chunk.BlockSize {
			continue
		}
		batch = append(batch, distribution.Holding{Object: info.Digest, Size: info.Size})
		if len(batch) == distribution.MaxHoldings {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// tell sends to the supernode, if there is one. A stream that cannot take it is
// as good as gone.
func (e *Engine) tell(m distribution.Message) {
	e.mu.Lock()
	s := e.session
	e.mu.Unlock()
	if s != nil {
		e.send(s.conn, m)
	}
}

func (e *Engine) send(conn distribution.Conn, m distribution.Message) {
	ctx, cancel := context.WithTimeout(e.ctx, sendPatience)
	defer cancel()
	if err := conn.Send(ctx, m); err != nil {
		_ = conn.Close()
	}
}

// live is the session, waiting a moment for the first one after start.
func (e *Engine) live(ctx context.Context) *session {
	if e.deps.Supernode == nil {
		return nil
	}
	deadline := time.After(firstSession)
	for {
		e.mu.Lock()
		s, tried, next := e.session, e.tried, e.sessions
		e.mu.Unlock()
		if s != nil || tried {
			return s
		}
		select {
		case <-next:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// Connected tells whether a supernode answers, and which.
func (e *Engine) Connected() (distribution.NodeID, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session == nil {
		return "", false
	}
	return e.session.member.ID, true
}
