package assembly

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/pull"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// running is a daemon of this process.
type running struct {
	*admin.Client
	socket string
	stop   context.CancelFunc
	ended  chan error
}

// start runs a daemon and waits until it answers.
func start(t *testing.T, socket string, run func(context.Context) error) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Client: admin.NewClient(socket), socket: socket, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx) }()
	t.Cleanup(func() { r.end(t) })
	r.await(t, func(Status) bool { return true })
	return r
}

// end stops the daemon, in order; a second call does nothing.
func (r *running) end(t *testing.T) {
	t.Helper()
	if r.ended == nil {
		return
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("%s ended with %v", r.socket, err)
	}
	r.ended = nil
	if _, err := os.Lstat(r.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func (r *running) status(t *testing.T) (s Status, err error) {
	t.Helper()
	text, err := r.Status(t.Context())
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// await polls the status: a daemon tells nobody by itself. The test's own
// deadline bounds it.
func (r *running) await(t *testing.T, ready func(Status) bool) Status {
	t.Helper()
	for {
		select {
		case err := <-r.ended:
			r.ended = nil
			t.Fatalf("%s ended: %v", r.socket, err)
		case <-time.After(5 * time.Millisecond):
		}
		if s, err := r.status(t); err == nil && ready(s) {
			return s
		}
	}
}

// startOrigin gives a registry with one image.
func startOrigin(t *testing.T) (registry *testregistry.Embedded, host string, size int64) {
	t.Helper()
	registry, err := testregistry.NewEmbedded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry)
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	img, err := testimage.Random(1, 3, 9<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := testimage.Push(t.Context(), host+"/app:1", img); err != nil {
		t.Fatal(err)
	}
	if size, err = testimage.BlobBytes(img); err != nil {
		t.Fatal(err)
	}
	registry.ResetLog()
	return registry, host, size
}

const local = "127.0.0.1:0"

func startSupernode(t *testing.T, dir, host, key string, mode distribution.OriginMode) *running {
	t.Helper()
	cfg := members.DefaultSupernode()
	cfg.DataDir, cfg.NetworkKey = filepath.Join(dir, "supernode"), key
	cfg.Control.Listen, cfg.Exchange.Listen, cfg.Admin.Listen = local, local, local
	cfg.Admin.Socket = filepath.Join(dir, "s.sock")
	cfg.Origin.Mode, cfg.Origin.AllowPrivate, cfg.Store.MinFree = mode, []string{host}, 0
	return start(t, cfg.Admin.Socket, func(ctx context.Context) error {
		return Supernode(ctx, cfg, slog.New(slog.DiscardHandler))
	})
}

func startPeer(t *testing.T, dir, name, host, key string, supernodes ...string) *running {
	t.Helper()
	cfg := members.DefaultPeer()
	cfg.DataDir, cfg.NetworkKey, cfg.Supernode.Address = filepath.Join(dir, name), key, supernodes
	cfg.Registry.Listen, cfg.Control.Listen, cfg.Exchange.Listen, cfg.Admin.Listen = local, local, local, local
	cfg.Admin.Socket = filepath.Join(dir, name+".sock")
	cfg.Origin.AllowPrivate, cfg.Store.MinFree = []string{host}, 0
	return start(t, cfg.Admin.Socket, func(ctx context.Context) error {
		return Peer(ctx, cfg, slog.New(slog.DiscardHandler))
	})
}

// The whole of it: two peers pull by command, and the registry is read once.
func TestPullThroughTheSwarm(t *testing.T) {
	for _, mode := range []distribution.OriginMode{distribution.ModeSupernode, distribution.ModeSpread} {
		t.Run(string(mode), func(t *testing.T) {
			registry, host, size := startOrigin(t)
			dir := t.TempDir()
			key := filepath.Join(dir, "key")
			if err := node.SaveNetworkKey(key, node.NewNetworkKey()); err != nil {
				t.Fatal(err)
			}
			supernode := startSupernode(t, dir, host, key, mode)
			s, err := supernode.status(t)
			if err != nil {
				t.Fatal(err)
			}
			address := string(s.ID) + "@" + s.Listen["control"]
			peers := []*running{startPeer(t, dir, "a", host, key, address), startPeer(t, dir, "b", host, key, address)}
			for _, p := range peers {
				p.await(t, func(s Status) bool { return s.Supernode.Connected })
			}
			pulled := make(chan error)
			for _, p := range peers {
				go func() { pulled <- p.Pull(t.Context(), pull.Request{Image: host + "/app:1"}, func(pull.Event) {}) }()
			}
			for range peers {
				if err := <-pulled; err != nil {
					t.Fatal(err)
				}
			}
			if got := registry.Log().TotalBlobBytes(); got != size {
				t.Errorf("the registry sent %d bytes of blobs; the image has %d", got, size)
			}
			for _, p := range peers {
				if s, err := p.status(t); err != nil || len(s.Fallbacks) > 0 || !s.Network {
					t.Errorf("status %+v, %v", s, err)
				}
				if text, err := p.Explain(t.Context(), host+"/app:1", nil); err != nil || !strings.Contains(string(text), `"sealed": true`) {
					t.Errorf("explain: %v\n%s", err, text)
				}
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	_, host, _ := startOrigin(t)
	dir := t.TempDir()
	supernode := startSupernode(t, dir, host, "", distribution.ModeSupernode)
	s, err := supernode.status(t)
	if err != nil {
		t.Fatal(err)
	}
	peer := startPeer(t, dir, "a", host, "", string(s.ID)+"@"+s.Listen["control"])
	up := peer.await(t, func(s Status) bool { return s.Supernode.Connected })
	if code := readyz(t, up); code != http.StatusOK {
		t.Errorf("with a supernode: %d", code)
	}
	supernode.end(t)
	down := peer.await(t, func(s Status) bool { return !s.Supernode.Connected })
	if code := readyz(t, down); code != http.StatusServiceUnavailable {
		t.Errorf("without it: %d", code)
	}
}

func readyz(t *testing.T, s Status) int {
	t.Helper()
	response, err := http.Get("http://" + s.Listen["admin"] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	return response.StatusCode
}

// A daemon that cannot be put together leaves nothing open: the same one starts
// afterwards.
func TestFailedStartLeavesNothingOpen(t *testing.T) {
	dir := t.TempDir()
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	cfg := members.DefaultPeer()
	cfg.DataDir, cfg.Admin.Socket = filepath.Join(dir, "a"), filepath.Join(dir, "a.sock")
	cfg.Registry.Listen, cfg.Admin.Listen = local, strings.TrimPrefix(taken.URL, "http://")
	err := Peer(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "admin.listen: ") {
		t.Fatalf("Peer: %v", err)
	}
	startPeer(t, dir, "a", "example.com", "").end(t)
}
