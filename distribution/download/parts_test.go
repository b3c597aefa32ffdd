package download

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func TestWindowWidensAndNarrows(t *testing.T) {
	now := time.Now()
	n := &node{window: firstWindow}
	for range 100 {
		n.begin()
		n.succeeded(1<<20, time.Second, 8)
	}
	if n.window != 8 {
		t.Errorf("after successes the window is %v, want the limit 8", n.window)
	}
	n.begin()
	n.suffered(0, now)
	if n.window != 4 {
		t.Errorf("after a failure the window is %v, want half", n.window)
	}
	if _, ok := n.cost(1, true, now); ok {
		t.Error("a node that failed is asked again at once")
	}
	if _, ok := n.cost(1, true, now.Add(firstRest)); !ok {
		t.Error("a node that rested is not asked again")
	}
	for range 50 {
		n.begin()
		n.suffered(0, now)
	}
	if rest := n.rest.Sub(now); rest != maxRest {
		t.Errorf("after many failures it rests %s, want %s", rest, maxRest)
	}
	n.quarantined = true
	if _, ok := n.cost(1, true, now.Add(time.Hour)); ok {
		t.Error("a quarantined node is asked")
	}
}

func TestLinkFollowsItsNeighbour(t *testing.T) {
	l := &link{node: &node{}, member: distribution.Member{ID: "n", Chunks: "n:1"}}
	span := func(first, n uint32) []distribution.Span { return []distribution.Span{{First: first, N: n}} }
	state := func() (offers, holds []int) {
		for b := range 8 {
			if l.offers(b) {
				offers = append(offers, b)
			}
			if l.holds(b) {
				holds = append(holds, b)
			}
		}
		return offers, holds
	}
	check := func(what string, wantOffers, wantHolds []int) {
		t.Helper()
		offers, holds := state()
		if diff := cmp.Diff([][]int{wantOffers, wantHolds}, [][]int{offers, holds}); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("untold", nil, nil)
	l.told(&distribution.Have{Size: 8 * chunk.BlockSize, Blocks: []byte{0b11}, Coming: span(4, 2)}, 8)
	check("told", []int{0, 1, 4, 5}, []int{0, 1})
	l.learned(&distribution.Progress{Got: span(4, 1), Lost: span(5, 1)}, 8)
	check("learned", []int{0, 1, 4}, []int{0, 1, 4})
	l.deny(distribution.Span{First: 0, N: 1}, 8)
	check("denied", []int{1, 4}, []int{1, 4})
	l.learned(&distribution.Progress{Got: span(0, 8)}, 8)
	check("full", []int{0, 1, 2, 3, 4, 5, 6, 7}, []int{0, 1, 2, 3, 4, 5, 6, 7})
	l.learned(&distribution.Progress{Lost: span(2, 6), Got: span(900, 100)}, 8)
	check("lost", []int{0, 1}, []int{0, 1})
	l.supernode = true
	check("a supernode is asked by grant only", nil, nil)
}

func TestNewsAreCutToTheBoundsOfMessages(t *testing.T) {
	task := &task{id: chunk.SumBytes([]byte("x"))}
	var n news
	for i := range distribution.MaxSpans + 5 {
		n.got = add(n.got, 2*i) // no two touch
	}
	n.coming = add(add(n.coming, 7), 8)
	for b := range distribution.MaxSums + 1 {
		n.digest(task.id, b, chunk.Digest{1})
	}
	toAll, toSupernode := n.take(task)
	got := 0
	for _, m := range toAll {
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		got += len(m.Got)
	}
	if got != distribution.MaxSpans+5 {
		t.Errorf("%d spans were told of %d", got, distribution.MaxSpans+5)
	}
	sums := 0
	for _, m := range toSupernode {
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		sums += len(m.(*distribution.Digests).Sums)
	}
	if sums != distribution.MaxSums+1 {
		t.Errorf("%d digests were told of %d", sums, distribution.MaxSums+1)
	}
	if again, more := n.take(task); len(again)+len(more) > 0 {
		t.Error("news were told twice")
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	err := Config{}.Validate()
	if err == nil {
		t.Fatal("an empty configuration is valid")
	}
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 9 {
		t.Errorf("got %v, want all nine problems", err)
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}
