package download

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func TestWhy(t *testing.T) {
	id := chunk.SumBytes([]byte("x"))
	now := time.Now()
	e := &Engine{log: slog.New(slog.DiscardHandler), tasks: map[chunk.Digest]*task{}}
	fresh := newTask(e, id)
	e.tasks[id] = fresh
	if why := e.Why(id, 0, 1); why != "the object is looked for" {
		t.Errorf("alone: %q", why)
	}
	if why := e.Why(chunk.SumBytes([]byte("another")), 0, 1); why != "" {
		t.Errorf("what is not open: %q", why)
	}
	e.deps.Supernode = func(context.Context) (distribution.Conn, distribution.Member, error) { panic("not called") }
	if why := e.Why(id, 0, 1); why != "no supernode answers" {
		t.Errorf("no supernode, and nothing known: %q", why)
	}

	x := newTask(e, id)
	x.size, x.member, x.joined = 4*chunk.BlockSize, true, true
	x.have, x.held = chunk.NewBitmap(4), chunk.NewBitmap(4)
	x.have.Set(0)
	e.tasks[id] = x
	one := &link{node: &node{}, member: distribution.Member{ID: "n", Chunks: "n:1"}, have: chunk.NewBitmap(4)}
	one.have.Set(1)
	x.links["n"] = one
	x.fetches[&fetch{run: distribution.Span{First: 3, N: 1}, link: one, started: now.Add(-2 * time.Second)}] = struct{}{}
	for name, c := range map[string]struct {
		off, n int64
		want   string
	}{
		"here":           {0, chunk.BlockSize, ""},
		"behind the end": {5 * chunk.BlockSize, 1, "no supernode answers"},
		"offered":        {0, 2 * chunk.BlockSize, "it is about to be asked of a node that has it"},
		"nobody":         {2 * chunk.BlockSize, 1, "no supernode answers, and none of the 1 nodes that are known to this one has it"},
		"asked":          {3 * chunk.BlockSize, 1, "asked of node n 2s ago"},
	} {
		if why := e.Why(id, c.off, c.n); why != c.want {
			t.Errorf("%s: %q", name, why)
		}
	}
	x.refusal = "no room"
	if why := x.why(2, true, now); why != "the supernode says: no room" {
		t.Errorf("refused: %q", why)
	}
}
