package download

import (
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// news gathers what a task's neighbours and its supernode were not told yet.
// Guarded by the task's mu.
type news struct {
	got, coming, lost []distribution.Span
	digests           []distribution.Digests // own, from origin grants
	need              *distribution.Need
	due               time.Time // when the batch is sent; zero if empty
}

// add appends block b to spans, joining it to the last one if it follows.
func add(spans []distribution.Span, b int) []distribution.Span {
	if n := len(spans); n > 0 && spans[n-1].End() == b {
		spans[n-1].N++
		return spans
	}
	return append(spans, distribution.Span{First: uint32(b), N: 1})
}

// touch sees to it that the batch is sent within a time. Callers hold mu.
func (t *task) touch(within time.Duration) {
	if t.news.due.IsZero() {
		t.e.around.Lock()
		t.e.fresh[t] = struct{}{}
		t.e.around.Unlock()
	}
	if due := time.Now().Add(within); t.news.due.IsZero() || due.Before(t.news.due) {
		t.news.due = due
	}
}

// take empties the batch into messages, each within its bounds.
func (n *news) take(t *task) (toAll []*distribution.Progress, toSupernode []distribution.Message) {
	for i := range n.digests {
		toSupernode = append(toSupernode, &n.digests[i])
	}
	if n.need != nil {
		toSupernode = append(toSupernode, n.need)
	}
	for len(n.got) > 0 || len(n.coming) > 0 || len(n.lost) > 0 {
		p := &distribution.Progress{Object: t.id}
		p.Got, n.got = cut(n.got)
		p.Coming, n.coming = cut(n.coming)
		p.Lost, n.lost = cut(n.lost)
		toAll = append(toAll, p)
	}
	*n = news{}
	return toAll, toSupernode
}

func cut(spans []distribution.Span) (head, tail []distribution.Span) {
	k := min(len(spans), distribution.MaxSpans)
	return spans[:k:k], spans[k:]
}
