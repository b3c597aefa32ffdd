package coordinator

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// inTurn is two members that want the object, the second once the first was
// granted what it may have.
func (s *stage) inTurn() (a, b *fakeConn) {
	a, b = s.join("a"), s.join("b")
	a.say(want())
	s.settle()
	b.say(want())
	s.settle()
	return a, b
}

func TestGrantsOfADeadPeerGoToAnother(t *testing.T) {
	setUp(t, distribution.ModeSpread, 8*mib, func(s *stage) {
		a := s.join("a")
		a.say(want())
		s.settle()
		first := granted(a)
		b := s.join("b")
		defer b.Close()
		b.say(want())
		s.settle()
		if len(granted(b)) > 0 {
			t.Fatalf("b was granted %v while a has all of it", granted(b))
		}
		a.Close()
		s.settle()
		if diff := cmp.Diff(first, granted(b)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStalledGrantsGoToAnother(t *testing.T) {
	setUp(t, distribution.ModeSpread, 8*mib, func(s *stage) {
		a, b := s.inTurn()
		defer a.Close()
		defer b.Close()
		time.Sleep(s.c.cfg.Stall + time.Second)
		synctest.Wait()
		if len(granted(b)) == 0 {
			t.Error("nobody else was granted what a does not bring")
		}
	})
}

func TestNobodyIsBlamedWhileTheSupernodeStoodStill(t *testing.T) {
	setUp(t, distribution.ModeSpread, 8*mib, func(s *stage) {
		a, b := s.inTurn()
		defer a.Close()
		defer b.Close()
		first := granted(a)
		s.c.round(time.Now().Add(10 * s.c.cfg.Stall))
		s.settle()
		if len(first) == 0 || len(granted(b)) > 0 {
			t.Errorf("a was granted %v, and b then %v", first, granted(b))
		}
	})
}

func TestNoMemberIsGrantedMoreThanItCanFetchAtOnce(t *testing.T) {
	const blocks = 4096
	setUp(t, distribution.ModeSupernode, blocks*chunk.BlockSize, func(s *stage) {
		a := s.join("a")
		defer a.Close()
		a.say(want())
		s.c.Arrived(object, 0, make([]chunk.Digest, blocks))
		s.settle()
		brought := 0
		for range 8 { // so fast that the supernode's pace alone would allow many more
			spans := granted(a)
			a.say(&distribution.Progress{Object: object, Got: spans[brought:]})
			brought = len(spans)
			s.settle()
		}
		if left := len(granted(a)) - brought; left != maxMember {
			t.Errorf("%d units are outstanding, want %d", left, maxMember)
		}
		if s.c.pace.limit <= maxMember {
			t.Errorf("the pace allows %d units: the test shows nothing", s.c.pace.limit)
		}
	})
}
