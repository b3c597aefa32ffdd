package origin

import (
	"container/list"
	"sync"
)

// lru keeps at most max values; the one that was not asked for longest goes
// first. What it forgets may still be in use and is then simply made again.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	max   int
	order *list.List // of entry[K, V]
	index map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](max int) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), index: map[K]*list.Element{}}
}

// get gives the value under key and makes it first if there is none. make must
// not block.
func (l *lru[K, V]) get(key K, make func() V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.index[key]; ok {
		l.order.MoveToFront(e)
		return e.Value.(entry[K, V]).value
	}
	v := make()
	l.index[key] = l.order.PushFront(entry[K, V]{key, v})
	if l.order.Len() > l.max {
		last := l.order.Remove(l.order.Back()).(entry[K, V])
		delete(l.index, last.key)
	}
	return v
}
