package nodeapi

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// kept is a blob in a store.
type kept struct {
	distribution.Reader
	size   int64
	closed sync.WaitGroup
}

func (k *kept) Size() int64  { return k.size }
func (k *kept) Close() error { k.closed.Done(); return nil }

func TestBlobIsKeptWhileItIsUsed(t *testing.T) {
	held := &kept{size: 7}
	held.closed.Add(1)
	using := make(chan struct{})
	c := listen(t, &Server{Blob: func(_ context.Context, r BlobRequest, tell func(done, total int64)) (distribution.Reader, error) {
		if r.Image != "app" {
			return nil, errors.New("no such image")
		}
		tell(3, 7)
		return held, nil
	}})
	var told []int64
	closed := make(chan struct{})
	go func() { held.closed.Wait(); close(closed) }()
	err := c.Blob(t.Context(), BlobRequest{Image: "app"}, func(done, _ int64) { told = append(told, done) }, func() error {
		select {
		case <-closed:
			t.Error("it was let go before it was used")
		default:
		}
		close(using)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-using
	<-closed
	if diff := cmp.Diff([]int64{3, 7}, told); diff != "" {
		t.Errorf("told (-want +got)\n%s", diff)
	}
	if err := c.Blob(t.Context(), BlobRequest{Image: "other"}, func(int64, int64) {}, func() error { return nil }); err == nil || err.Error() != "no such image" {
		t.Errorf("a blob that is not there: %v", err)
	}
}

func TestFind(t *testing.T) {
	want := Found{Registry: "r", Repository: "a", Documents: []Layer{{Size: 1}, {Size: 2}}, Layers: []Layer{{Size: 3}}, DiffIDs: []chunk.Digest{chunk.SumBytes(nil)}}
	c := listen(t, &Server{Find: func(_ context.Context, r FindRequest) (*Found, error) {
		if r.Image != "app" {
			return &Found{}, nil
		}
		return &want, nil
	}})
	got, err := c.Find(t.Context(), FindRequest{Image: "app"})
	if err != nil || !cmp.Equal(*got, want) {
		t.Errorf("Find: %+v, %v", got, err)
	}
	if _, err := c.Find(t.Context(), FindRequest{Image: "empty"}); err == nil {
		t.Error("an image without documents is none")
	}
}
