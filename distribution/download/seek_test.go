package download

import (
	"fmt"
	"testing"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

func TestKnownMembersAreBounded(t *testing.T) {
	e := &Engine{deps: Deps{Self: "self"}, nodes: map[distribution.NodeID]*node{}}
	e.know([]distribution.Member{{ID: "self", Chunks: "h:1"}, {ID: "mute"}})
	if len(e.known) != 0 {
		t.Errorf("this node, and one that gives nothing, are known: %v", e.known)
	}
	for i := range maxKnown + 5 {
		e.know([]distribution.Member{{ID: distribution.NodeID(fmt.Sprint(i)), Chunks: "h:1"}})
	}
	e.know([]distribution.Member{{ID: "5", Chunks: "moved:1"}})
	if n := len(e.known); n != maxKnown || e.known[0].ID != "6" || e.known[n-1].Chunks != "moved:1" {
		t.Errorf("%d are known, from %v to %v", n, e.known[0], e.known[n-1])
	}
	e.node("6").quarantined = true
	if got := e.acquaintances(); len(got) != maxKnown-1 || got[0].ID != "7" {
		t.Errorf("%d would be asked, the first %v", len(got), got[0])
	}
}

func TestAnswersAreBounded(t *testing.T) {
	e := &Engine{neighbours: map[distribution.NodeID]*neighbour{"n": {}}}
	now := time.Now()
	if e.mayAnswer("stranger", now) {
		t.Error("who has no stream would be answered")
	}
	for range maxAnswers {
		if !e.mayAnswer("n", now) {
			t.Fatal("not answered within the bound")
		}
	}
	if e.mayAnswer("n", now) {
		t.Error("answered beyond the bound")
	}
	if !e.mayAnswer("n", now.Add(time.Second)) {
		t.Error("not answered a second later")
	}
}
