package nodeapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/memstore"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/daemon"
)

// listen serves s on a socket, and gives a client for it.
func listen(t *testing.T, s *Server) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := daemon.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- daemon.Serve(ctx, l, admin.Daemon{More: s.Routes()}.Local(), time.Second, slog.New(slog.DiscardHandler))
	}()
	c := New(socket)
	t.Cleanup(func() {
		c.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestOpenTellsAndAnswers(t *testing.T) {
	want := &Image{Reference: "app", Tree: chunk.SumBytes([]byte("tree")), TreeSize: 4}
	c := listen(t, &Server{Open: func(_ context.Context, r OpenRequest, tell func(Progress)) (*Image, error) {
		if r.Image != "app" {
			return nil, errors.New("no such image")
		}
		tell(Progress{Stage: StageTree, Total: 4})
		return want, nil
	}})
	var told []Progress
	got, err := c.Open(t.Context(), OpenRequest{Image: "app"}, func(p Progress) { told = append(told, p) })
	if err != nil || !cmp.Equal(got, want) || len(told) != 1 || told[0].Total != 4 {
		t.Errorf("Open: %+v, %v, told %v", got, err, told)
	}
	if got, err := c.Open(t.Context(), OpenRequest{Image: "other"}, func(Progress) {}); got != nil || err == nil || err.Error() != "no such image" {
		t.Errorf("Open of what is not there: %v, %v", got, err)
	}
}

func TestWhatFailuresMean(t *testing.T) {
	var fail error
	c := listen(t, &Server{Fetch: func(context.Context, FetchRequest) (*chunk.Bitmap, error) { return nil, fail }})
	for _, test := range []struct {
		fail         error
		away, absent bool
	}{
		{fmt.Errorf("%w: x", ErrAbsent), false, true},
		{chunk.ErrClosed, true, false},
		{chunk.ErrFull, false, false},
	} {
		fail = test.fail
		_, err := c.Fetch(t.Context(), FetchRequest{Size: 1, Length: 1})
		if err == nil || errors.Is(err, ErrAway) != test.away || errors.Is(err, ErrAbsent) != test.absent || !strings.Contains(err.Error(), test.fail.Error()) {
			t.Errorf("%v came as %v", test.fail, err)
		}
	}
	if _, err := c.Fetch(t.Context(), FetchRequest{Size: 1, Length: 2}); err == nil || errors.Is(err, ErrAway) {
		t.Errorf("a range outside the object: %v", err)
	}
}

func TestNoPeerIsAway(t *testing.T) {
	c := New(filepath.Join(t.TempDir(), "none"))
	defer c.Close()
	if _, err := c.Store(t.Context()); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "set peer.socket") {
		t.Errorf("Store: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the reader left")
	cancel(cause)
	if _, err := c.Store(ctx); !errors.Is(err, cause) {
		t.Errorf("Store of one who left: %v", err)
	}
}

func TestUnpinFreesWhatNobodyElseKeeps(t *testing.T) {
	store := memstore.New(0)
	add := func(text string) chunk.Digest {
		d := chunk.SumBytes([]byte(text))
		o, err := store.Create(d, int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		return d
	}
	alone, shared, open := add("alone"), add("shared"), add("open")
	held, err := store.Open(open)
	if err != nil {
		t.Fatal(err)
	}
	var freed []chunk.Digest
	server := &Server{Store: store, Freed: func(d chunk.Digest) { freed = append(freed, d) }}
	c := listen(t, server)
	for name, objects := range map[string][]chunk.Digest{"a": {alone, shared, open}, "b": {shared}, "c": {alone}} {
		if err := c.Pin(t.Context(), name, objects); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		free bool
		left int
	}{{"c", false, 3}, {"a", true, 2}, {"b", true, 1}, {"unknown", true, 1}} {
		if err := c.Unpin(t.Context(), step.name, step.free); err != nil {
			t.Fatal(err)
		}
		if left := len(store.Objects()); left != step.left {
			t.Errorf("after %s went %d objects are left, want %d", step.name, left, step.left)
		}
	}
	held.Close()
	server.free(server.leaving.take()) // as Run does
	if diff := cmp.Diff([]chunk.Digest{alone, shared, open}, freed); diff != "" {
		t.Errorf("told of (-want +got)\n%s", diff)
	}
}
