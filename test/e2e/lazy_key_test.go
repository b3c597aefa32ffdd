//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/coordinator"
	control "github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
	"github.com/shoal-project/shoal/layer"
)

// rogue is a supernode that has nothing, and states about every image what it
// likes.
func rogue(t *testing.T, state distribution.Deriver) *supernode {
	t.Helper()
	dir := directory(t)
	s := &supernode{networkKey: newNetworkKey(t, dir)}
	identity := must(control.NewIdentity())(t)
	config := control.Default()
	config.Listen = "127.0.0.1:0"
	port := must(control.New(config, identity, must(control.LoadNetworkKey(s.networkKey))(t), slog.New(slog.DiscardHandler), control.NewMetrics(prometheus.NewRegistry())))(t)
	t.Cleanup(func() { port.Close() })
	judge := must(coordinator.New(coordinator.Default(), coordinator.Deps{
		Trusts: func(*chunk.List, chunk.Seal) bool { return false }, Derive: state, Chunks: 1, Agent: "rogue",
		Log: slog.New(slog.DiscardHandler), Metric: coordinator.NewMetrics(prometheus.NewRegistry()),
	}))(t)
	judge.Bind(idle{})
	port.Handle(control.Control, func(ctx context.Context, conn distribution.Conn) { _ = judge.Serve(ctx, conn) })
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = judge.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	s.address = string(identity.ID()) + "@" + port.Addr()
	return s
}

// idle is the engine of a node that has nothing and gets nothing.
type idle struct{ coordinator.Engine }

var errIdle = errors.New("this node gets nothing")

func (idle) Open(context.Context, distribution.Source) (distribution.Reader, error) {
	return nil, errIdle
}
func (idle) Lead(context.Context, distribution.Source, int64) (distribution.Reader, error) {
	return nil, errIdle
}
func (idle) Neighbour(distribution.Member, distribution.Message)  {}
func (idle) Learn(chunk.Digest, int, []chunk.Digest)              {}
func (idle) SealOf(chunk.Digest) (*chunk.List, chunk.Seal, bool)  { return nil, chunk.Seal{}, false }
func (idle) Present(chunk.Digest) (*chunk.Bitmap, []chunk.Digest) { return nil, nil }
func (idle) Holds(chunk.Digest) (int64, bool)                     { return 0, false }

func TestStatementsThatAreNotTheSupernodesAreRefused(t *testing.T) {
	registry := startRegistry(t, testregistry.Options{})
	reach := registries{hosts: []string{registry.Host()}}
	img := bootable(t, testimage.OCI, testimage.Gzip, "key")
	name := pushed(t, registry.Host(), "key/image:v1", img)
	other := must(control.NewIdentity())(t)
	signed := func(ids []chunk.Digest) ([]byte, error) {
		b := layer.Binding{DiffIDs: ids, Tree: chunk.Digest{1}, Size: 4096}
		if err := b.Sign(other.Key()); err != nil {
			return nil, err
		}
		return b.MarshalBinary()
	}
	for what, c := range map[string]struct {
		state  func(ids []chunk.Digest) ([]byte, error)
		reason string
	}{
		"another key":  {signed, "key"},
		"no statement": {func([]chunk.Digest) ([]byte, error) { return []byte("trust me"), nil }, "binding"},
	} {
		t.Run(what, func(t *testing.T) {
			super := rogue(t, func(_ context.Context, _ distribution.Source, view distribution.View, _ func(done, total int64)) ([]byte, error) {
				var ids []chunk.Digest
				for _, l := range view.Layers {
					ids = append(ids, l.DiffID)
				}
				return c.state(ids)
			})
			node := startLazy(t, startPeer(t, loopback(), super, reach))
			node.peer.await(t, "joining", func(context.Context) error {
				if text := command(t, nil, "cat", node.peer.log); !strings.Contains(text, "joined the supernode") {
					return errors.New("not yet")
				}
				return nil
			})
			_, err := node.tryMount(t, name)
			if err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "cannot be served lazily") {
				t.Errorf("mounting says %v", err)
			}
			t.Log(err)
			pulls(t, node.peer, registry.Host(), "key/image:v1", img)
		})
	}
}
