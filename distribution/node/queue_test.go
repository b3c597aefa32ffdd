package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueueGathersWhatWaits(t *testing.T) {
	q := newQueue(10, 100)
	for _, frame := range []string{"ab", "c", "def"} {
		if err := q.put(t.Context(), []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	if got, n, err := q.take(nil); string(got) != "abcdef" || n != 3 || err != nil {
		t.Errorf("%q, %d, %v", got, n, err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	for name, bound := range map[string][2]int{"frames": {2, 100}, "bytes": {100, 4}} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(bound[0], bound[1])
			for range 2 {
				if err := q.put(t.Context(), []byte("ab")); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := q.put(ctx, []byte("ab")); !errors.Is(err, ErrSlow) {
				t.Errorf("%s: %v", name, err)
			}
			done := make(chan error)
			go func() { done <- q.put(t.Context(), []byte("cd")) }()
			synctest.Wait()
			if got, _, _ := q.take(nil); string(got) != "abab" {
				t.Errorf("%s: took %q", name, got)
			}
			if err := <-done; err != nil {
				t.Errorf("%s: room was not noticed: %v", name, err)
			}
		})
	}
}

func TestQueueTakesOneLargeFrame(t *testing.T) {
	q := newQueue(1, 1)
	if err := q.put(t.Context(), make([]byte, 100)); err != nil {
		t.Error(err)
	}
}

func TestClosedQueueKeepsOrDrops(t *testing.T) {
	cause := errors.New("cause")
	for _, keep := range []bool{true, false} {
		q := newQueue(10, 10)
		if err := q.put(t.Context(), []byte("a")); err != nil {
			t.Fatal(err)
		}
		q.close(cause, keep)
		if err := q.put(t.Context(), []byte("b")); err != cause {
			t.Errorf("put after close: %v", err)
		}
		if keep {
			if got, _, err := q.take(nil); string(got) != "a" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
		if _, _, err := q.take(nil); err != cause {
			t.Errorf("take after close: %v", err)
		}
	}
}
