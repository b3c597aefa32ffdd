//go:build linux

package content

import (
	"context"
	"log/slog"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/lazyfs/lazytest"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// exactPeer answers for nothing but what it is asked about, as one does that has
// not looked at an object before.
type exactPeer struct{ *lazytest.Peer }

func (p exactPeer) Fetch(ctx context.Context, r nodeapi.FetchRequest) (*chunk.Bitmap, error) {
	have, err := p.Peer.Fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	for b := range have.Len() {
		if at := int64(b) * chunk.BlockSize; at < r.Offset || at >= r.Offset+r.Length {
			have.Clear(b)
		}
	}
	return have, nil
}

// Without a fill, another daemon knows that all is here, too.
func TestLearnAsksOfAllThatIsMarked(t *testing.T) {
	f := serve(t, Default(), random(9, 3*chunk.Size+1000), random(10, 2*chunk.Size))
	if err := f.open(f.image, 0).Fetch(t.Context(), 0, int64(len(f.data[0]))); err != nil {
		t.Fatal(err)
	}
	if err := f.open(f.image, 1).Fetch(t.Context(), chunk.Size, 1); err != nil {
		t.Fatal(err)
	}
	table := New(Default(), exactPeer{f.peer}, func() string { return f.peer.Dir }, slog.New(slog.DiscardHandler), NewMetrics(nil))
	t.Cleanup(table.Close)
	again := f.newImage(table)
	again.Learn(t.Context())
	if p := again.Progress(); p.Complete != 1 || p.Present != int64(len(f.data[0]))+chunk.Size {
		t.Errorf("progress %+v", p)
	}
}
