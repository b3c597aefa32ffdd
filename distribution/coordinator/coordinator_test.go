package coordinator

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const mib = 1 << 20

// fakeEngine has one object, whole or in part.
type fakeEngine struct {
	distribution.Objects
	mu      sync.Mutex
	size    int64
	err     error
	opened  int
	list    *chunk.List
	seal    chunk.Seal
	learned int
	met     []distribution.NodeID
}

type fakeReader struct{ size int64 }

func (r fakeReader) Size() int64 { return r.size }
func (r fakeReader) CopyRange(context.Context, io.Writer, int64, int64) (int64, error) {
	return 0, io.ErrUnexpectedEOF
}
func (r fakeReader) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (r fakeReader) Close() error                   { return nil }

func (e *fakeEngine) Open(context.Context, distribution.Source) (distribution.Reader, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened++
	return fakeReader{e.size}, e.err
}

func (e *fakeEngine) Lead(_ context.Context, _ distribution.Source, size int64) (distribution.Reader, error) {
	return fakeReader{size}, nil
}

func (e *fakeEngine) Holds(chunk.Digest) (int64, bool) { return e.size, e.list != nil }

func (e *fakeEngine) Neighbour(m distribution.Member, _ distribution.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.met = append(e.met, m.ID)
}

func (e *fakeEngine) Learn(_ chunk.Digest, _ int, sums []chunk.Digest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.learned += len(sums)
}

func (e *fakeEngine) SealOf(chunk.Digest) (*chunk.List, chunk.Seal, bool) {
	return e.list, e.seal, e.list != nil
}
func (e *fakeEngine) Present(chunk.Digest) (*chunk.Bitmap, []chunk.Digest) { return nil, nil }

func (e *fakeEngine) Stat(context.Context, distribution.Source) (int64, error) { return e.size, e.err }

// fakeConn records what the coordinator says to one peer.
type fakeConn struct {
	id   distribution.NodeID
	in   chan distribution.Message
	mu   sync.Mutex
	out  []distribution.Message
	gone chan struct{}
	once sync.Once
}

func (c *fakeConn) Remote() distribution.NodeID { return c.id }
func (c *fakeConn) RemoteHost() string          { return "10.0.0.1" }
func (c *fakeConn) Close() error                { c.once.Do(func() { close(c.gone) }); return nil }
func (c *fakeConn) Send(_ context.Context, m distribution.Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, m)
	return nil
}
func (c *fakeConn) Receive(ctx context.Context) (distribution.Message, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.gone:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeConn) say(m distribution.Message) { c.in <- m; synctest.Wait() }

// heard gives all messages of type T so far.
func heard[T distribution.Message](c *fakeConn) []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []T
	for _, m := range c.out {
		if m, ok := m.(T); ok {
			list = append(list, m)
		}
	}
	return list
}

// neighbours are what a peer was told of some object.
func neighbours(c *fakeConn) []*distribution.Neighbours {
	return slices.DeleteFunc(heard[*distribution.Neighbours](c), func(n *distribution.Neighbours) bool { return n.Object.IsZero() })
}

// acquainted are those of whom a peer was told whatever they have.
func acquainted(c *fakeConn) (ids []distribution.NodeID) {
	for _, n := range heard[*distribution.Neighbours](c) {
		for _, m := range n.Add {
			if n.Object.IsZero() {
				ids = append(ids, m.ID)
			}
		}
	}
	return ids
}

func granted(c *fakeConn) []distribution.Span {
	var spans []distribution.Span
	for _, g := range heard[*distribution.Grant](c) {
		spans = append(spans, g.Spans...)
	}
	return spans
}

type stage struct {
	t      *testing.T
	c      *Coordinator
	engine *fakeEngine
}

func setUp(t *testing.T, mode distribution.OriginMode, size int64, f func(s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{size: size}
		cfg := Default()
		cfg.Mode = mode
		key := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
		c, err := New(cfg, Deps{
			Origin: statOnly{e}, Log: slog.New(slog.DiscardHandler),
			Trusts: func(l *chunk.List, s chunk.Seal) bool { return s.Verify(l, []ed25519.PublicKey{key}) == nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Bind(e)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx) })
		f(&stage{t: t, c: c, engine: e})
		cancel()
		wg.Wait()
	})
}

type statOnly struct{ *fakeEngine }

func (s statOnly) Open(context.Context, distribution.Source) (distribution.Blob, error) {
	return nil, errors.New("the coordinator opens nothing itself")
}

func (s *stage) join(id distribution.NodeID) *fakeConn {
	c := &fakeConn{id: id, in: make(chan distribution.Message, 16), gone: make(chan struct{})}
	go func() { _ = s.c.Serve(s.t.Context(), c) }()
	c.say(&distribution.Hello{Version: distribution.ProtocolVersion, Chunks: 7412, Control: 7411})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// pair is two members that both want the object.
func (s *stage) pair() (a, b *fakeConn) {
	a, b = s.join("a"), s.join("b")
	a.say(want())
	b.say(want())
	s.settle()
	return a, b
}

func (s *stage) settle() { time.Sleep(100 * time.Millisecond); synctest.Wait() }

var object = chunk.SumBytes([]byte("object"))

func want() *distribution.Want {
	return &distribution.Want{Object: object, Registry: "r", Repository: "n"}
}

func TestHandshakeGivesModeAndRefusesOtherVersions(t *testing.T) {
	setUp(t, distribution.ModeSpread, mib, func(s *stage) {
		p := s.join("p")
		defer p.Close()
		got := heard[*distribution.Welcome](p)
		if len(got) != 1 || got[0].Mode != distribution.ModeSpread {
			t.Errorf("got %v, want a welcome in mode spread", got)
		}
		old := &fakeConn{id: "old", in: make(chan distribution.Message, 1), gone: make(chan struct{})}
		old.in <- &distribution.Hello{Version: distribution.ProtocolVersion + 1}
		if err := s.c.Serve(s.t.Context(), old); !errors.Is(err, distribution.ErrMessage) {
			t.Errorf("another version: got %v, want ErrMessage", err)
		}
	})
}

func TestUnitsAreGrantedOnceBeforeTwice(t *testing.T) {
	for _, mode := range []distribution.OriginMode{distribution.ModeSupernode, distribution.ModeSpread} {
		setUp(t, mode, 32*mib, func(s *stage) {
			a, b := s.join("a"), s.join("b")
			defer a.Close()
			defer b.Close()
			a.say(want())
			b.say(want())
			s.c.Arrived(object, 0, make([]chunk.Digest, 128))
			s.settle()
			seen := chunk.NewBitmap(128)
			for range 64 { // both take what they are granted, until there is no more
				for _, p := range []*fakeConn{a, b} {
					for _, span := range granted(p) {
						p.say(&distribution.Progress{Object: object, Got: []distribution.Span{span}})
					}
				}
				s.settle()
			}
			for _, p := range []*fakeConn{a, b} {
				spans := granted(p)
				if len(spans) < 2 {
					t.Errorf("mode %s: %s was granted %v", mode, p.id, spans)
				}
				for _, span := range spans {
					for i := int(span.First); i < span.End(); i++ {
						if !seen.Set(i) {
							t.Errorf("mode %s: block %d was granted twice", mode, i)
						}
					}
				}
			}
			if !seen.Full() {
				t.Errorf("mode %s: %d of 128 blocks were granted", mode, seen.Count())
			}
		})
	}
}

func TestNothingIsGrantedBeforeTheSupernodeHasIt(t *testing.T) {
	setUp(t, distribution.ModeSupernode, 32*mib, func(s *stage) {
		p := s.join("p")
		defer p.Close()
		p.say(want())
		s.settle()
		if got := granted(p); len(got) > 0 {
			t.Fatalf("granted %v of nothing", got)
		}
		s.c.Arrived(object, 16, make([]chunk.Digest, 1))
		s.settle()
		if diff := cmp.Diff([]distribution.Span{{First: 16, N: 4}}, granted(p)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDigestsCountOnlyFromTheGrantee(t *testing.T) {
	setUp(t, distribution.ModeSpread, 8*mib, func(s *stage) {
		a, b := s.pair()
		owner, other := a, b
		for _, span := range granted(b) {
			if span.First == 0 {
				owner, other = b, a
			}
		}
		lie, truth := chunk.SumBytes([]byte("lie")), chunk.SumBytes([]byte("truth"))
		other.say(&distribution.Digests{Object: object, First: 0, Sums: []chunk.Digest{lie}})
		owner.say(&distribution.Digests{Object: object, First: 0, Sums: []chunk.Digest{truth}})
		s.settle()
		for _, d := range heard[*distribution.Digests](other) {
			if d.First == 0 && d.Sums[0] != truth {
				t.Errorf("the swarm was told %s, want the grantee's word", d.Sums[0])
			}
		}
		if len(heard[*distribution.Digests](other)) == 0 {
			t.Error("the swarm was told no digest")
		}
	})
}

func TestTwoAccusersQuarantineANode(t *testing.T) {
	setUp(t, distribution.ModeSupernode, 8*mib, func(s *stage) {
		a, b, liar := s.join("a"), s.join("b"), s.join("liar")
		defer a.Close()
		defer b.Close()
		defer liar.Close()
		report := &distribution.Report{Object: object, Node: "liar"}
		a.say(report)
		a.say(report)
		if got := heard[*distribution.Quarantine](b); len(got) > 0 {
			t.Fatalf("one accuser was enough: %v", got)
		}
		b.say(report)
		s.settle()
		for _, p := range []*fakeConn{a, b} {
			if got := heard[*distribution.Quarantine](p); len(got) != 1 || got[0].Node != "liar" {
				t.Errorf("%s heard %v, want the quarantine of liar", p.id, got)
			}
		}
		liar.say(want())
		a.say(want())
		s.settle()
		for _, n := range neighbours(a) {
			for _, m := range n.Add {
				if m.ID == "liar" {
					t.Error("a quarantined node was given as a neighbour")
				}
			}
		}
	})
}

func TestMembersAreToldOfEachOther(t *testing.T) {
	setUp(t, distribution.ModeSupernode, 8*mib, func(s *stage) {
		var all []*fakeConn
		for i := range maxAcquainted + 4 {
			all = append(all, s.join(distribution.NodeID(fmt.Sprintf("n%d", i))))
		}
		s.c.mu.Lock()
		s.c.banned["n0"] = true
		s.c.mu.Unlock()
		last := s.join("last")
		s.settle()
		told := acquainted(last)
		if len(told) != maxAcquainted || slices.Contains(told, "last") || slices.Contains(told, "n0") {
			t.Errorf("a newcomer was told of %d, %v; want %d others that nobody banned", len(told), told, maxAcquainted)
		}
		for _, p := range all {
			if slices.Contains(acquainted(p), "last") != slices.Contains(told, p.id) {
				t.Errorf("%s and the newcomer were not told of each other alike", p.id)
			}
		}
		if first := acquainted(all[0]); len(first) < maxAcquainted {
			t.Errorf("who came first was told of %d", len(first))
		}
	})
}

func TestRefusalCarriesTheOriginsStatus(t *testing.T) {
	setUp(t, distribution.ModeSupernode, 0, func(s *stage) {
		s.engine.err = &distribution.OriginError{Status: 404, Message: "unknown"}
		p := s.join("p")
		defer p.Close()
		p.say(want())
		s.settle()
		got := heard[*distribution.Refused](p)
		if len(got) != 1 || got[0].Status != 404 {
			t.Errorf("got %v, want one refusal with 404", got)
		}
	})
}

func TestNodeCredentialsAreRefusedFromOutside(t *testing.T) {
	setUp(t, distribution.ModeSupernode, 8*mib, func(s *stage) {
		p := s.join("p")
		defer p.Close()
		w := want()
		w.Authorization = distribution.NodeCredentials
		p.say(w)
		s.settle()
		if len(heard[*distribution.Refused](p)) != 1 || s.engine.opened > 0 {
			t.Error("a peer used the supernode's credentials")
		}
	})
}

func TestLostSupernodeRecallsTheSealFromAHolder(t *testing.T) {
	setUp(t, distribution.ModeSupernode, 8*mib, func(s *stage) {
		list := &chunk.List{Kind: chunk.KindBlob, Object: object, Size: 8 * mib, Chunks: make([]chunk.Digest, 2)}
		seal, err := chunk.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)), list)
		if err != nil {
			t.Fatal(err)
		}
		body, err := list.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		holder, p := s.join("holder"), s.join("p")
		defer holder.Close()
		defer p.Close()
		holder.say(&distribution.Announce{Holdings: []distribution.Holding{{Object: object, Size: 8 * mib}}})
		p.say(want())
		if got := heard[*distribution.Recall](holder); len(got) != 1 {
			t.Fatalf("the holder was asked %d times for the seal", len(got))
		}
		holder.say(&distribution.Sealed{Object: object, List: body, Key: seal.Key, Signature: seal.Signature})
		s.settle()
		if s.engine.opened > 0 {
			t.Error("the origin was opened for what a holder has")
		}
		if got := heard[*distribution.Sealed](p); len(got) != 1 {
			t.Errorf("the peer got %d seals, want 1", len(got))
		}
		n := neighbours(p)
		if len(n) != 1 || len(n[0].Full) != 1 || n[0].Full[0] != "holder" {
			t.Errorf("the peer's neighbours are %v, want the holder, full", n)
		}
	})
}

func TestConfigReportsEveryProblem(t *testing.T) {
	err := Config{Mode: "x", Unit: 3}.Validate()
	for _, want := range []string{"mode", "unit", "neighbours", "stall", "origin_parallel"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
}
