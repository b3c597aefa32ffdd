package coordinator

import (
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// twice gives the blocks that were granted more than once.
func twice(conns ...*fakeConn) []int {
	var list []int
	seen := map[int]bool{}
	for _, p := range conns {
		for _, span := range granted(p) {
			for b := int(span.First); b < span.End(); b++ {
				if seen[b] {
					list = append(list, b)
				}
				seen[b] = true
			}
		}
	}
	return list
}

func TestRequestsShrinkTowardsTheEnd(t *testing.T) {
	setUp(t, distribution.ModeSpread, 32*mib, func(s *stage) {
		a, b := s.pair()
		sent := map[*fakeConn]int{}
		for range 64 {
			for _, p := range []*fakeConn{a, b} {
				for _, span := range granted(p)[sent[p]:] {
					p.say(&distribution.Progress{Object: object, Got: []distribution.Span{span}})
					sent[p]++
				}
			}
			s.settle()
		}
		first, last := granted(a)[0], granted(a)[len(granted(a))-1]
		if first.N != chunk.BlocksPerChunk || int(last.N) != s.c.cfg.Unit {
			t.Errorf("the first request has %d blocks, the last %d", first.N, last.N)
		}
		if n := len(granted(a)) + len(granted(b)); n > 16 {
			t.Errorf("%d requests for 8 chunks", n)
		}
		if list := twice(a, b); len(list) > 0 {
			t.Errorf("blocks %v were granted twice", list)
		}
	})
}

func TestNeedDoesNotTakeEverything(t *testing.T) {
	setUp(t, distribution.ModeSpread, 64*mib, func(s *stage) {
		a, _ := s.pair()
		before := len(granted(a))
		for range 20 {
			a.say(&distribution.Need{Object: object, Spans: []distribution.Span{{First: 128, N: 128}}})
			s.settle()
		}
		if after := len(granted(a)); after != before+1 {
			t.Errorf("%d requests were granted before the need, %d after; want one more", before, after)
		}
	})
}

// live lets members tell once a second that what they were granted is coming.
func live(s *stage, seconds int, conns ...*fakeConn) {
	for range seconds {
		time.Sleep(time.Second)
		for _, p := range conns {
			p.say(&distribution.Progress{Object: object, Coming: granted(p)})
		}
	}
	s.settle()
}

func TestSlowGrantsAreNotTakenBack(t *testing.T) {
	setUp(t, distribution.ModeSpread, 16*mib, func(s *stage) {
		a, b := s.pair()
		live(s, 60, a, b)
		b.say(&distribution.Need{Object: object, Spans: granted(a)})
		s.settle()
		if list := twice(a, b); len(list) > 0 {
			t.Errorf("blocks %v were granted twice while they were coming", list)
		}
	})
}

func TestHopelesslySlowGrantsGoToAnother(t *testing.T) {
	setUp(t, distribution.ModeSpread, 16*mib, func(s *stage) {
		a, b := s.pair()
		stuck := granted(a)[0]
		sent := 0
		for i := range 1000 { // b brings a block every 20 ms
			time.Sleep(20 * time.Millisecond)
			if i%50 == 0 {
				a.say(&distribution.Progress{Object: object, Coming: granted(a)})
			}
			for _, span := range granted(b) {
				if sent >= int(span.First) && sent < span.End() {
					b.say(&distribution.Progress{Object: object, Got: []distribution.Span{{First: uint32(sent), N: 1}}})
				}
			}
			sent = (sent + 1) % 64
		}
		s.settle()
		for _, span := range granted(b) {
			if span.First == stuck.First {
				return
			}
		}
		t.Errorf("b was granted %v; want block %d, which a holds up", granted(b), stuck.First)
	})
}
