//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// through makes a push go by another network.
func through(dial dialer) remote.Option {
	return remote.WithTransport(&http.Transport{DialContext: dial, DisableKeepAlives: true})
}

// gated is an embedded registry on loopback whose blob bodies a gate holds.
type gated struct {
	*testregistry.Gate
	registry *testregistry.Embedded
	server   *httptest.Server
}

// startGated puts a gate and then further handlers before a new registry.
func startGated(t *testing.T, budget int64, layers ...func(http.Handler) http.Handler) *gated {
	t.Helper()
	g := &gated{Gate: testregistry.NewGate(budget)}
	g.registry = must(testregistry.NewEmbedded(directory(t)))(t)
	handler := g.Wrap(g.registry)
	for _, wrap := range layers {
		handler = wrap(handler)
	}
	g.server = httptest.NewServer(handler)
	t.Cleanup(func() {
		g.Open() // or Close would wait for bodies that the gate holds
		g.server.CloseClientConnections()
		g.server.Close()
	})
	return g
}

func (g *gated) host() string { return strings.TrimPrefix(g.server.URL, "http://") }

func (g *gated) reach() registries { return registries{hosts: []string{g.host()}} }

func (g *gated) push(t *testing.T, repository string, img v1.Image) {
	t.Helper()
	if err := testimage.Push(t.Context(), g.host()+"/"+repository, img); err != nil {
		t.Fatal(err)
	}
	g.registry.ResetLog()
}

// settle waits until no request is being answered, so that the log is whole.
func (g *gated) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for g.registry.Active() > 0 {
		select {
		case <-ctx.Done():
			t.Fatalf("%d requests go on at the origin", g.registry.Active())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// layerOf is an image's largest layer's descriptor.
func layerOf(t *testing.T, img v1.Image) v1.Descriptor {
	t.Helper()
	manifest := must(img.Manifest())(t)
	largest := manifest.Layers[0]
	for _, d := range manifest.Layers {
		if d.Size > largest.Size {
			largest = d
		}
	}
	return largest
}

// opened is a blob on its way to a client.
type opened struct {
	descriptor v1.Descriptor
	body       io.ReadCloser
	prefix     []byte
}

// open asks for a blob and reads its first n bytes.
func open(t *testing.T, p *puller, repository string, d v1.Descriptor, n int) *opened {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	resp, err := p.ok(ctx, repository, "blobs", d.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	o := &opened{descriptor: d, body: resp.Body}
	o.more(t, n)
	return o
}

// more reads the next n bytes.
func (o *opened) more(t *testing.T, n int) {
	t.Helper()
	next := make([]byte, n)
	if _, err := io.ReadFull(o.body, next); err != nil {
		t.Fatalf("reading %d bytes at %d: %v", n, len(o.prefix), err)
	}
	o.prefix = append(o.prefix, next...)
}

// finish reads the rest and checks the whole.
func (o *opened) finish() error {
	return drain(io.MultiReader(bytes.NewReader(o.prefix), o.body), o.descriptor)
}

func TestFirstByteComesBeforeATenthIsFetched(t *testing.T) {
	const size = 256 << 20
	img := must(testimage.Random(2, 1, size))(t)
	for _, alone := range []bool{true, false} {
		name := map[bool]string{true: "alone", false: "with a supernode"}[alone]
		t.Run(name, func(t *testing.T) {
			g := startGated(t, size/10)
			g.push(t, "cold/layer:v1", img)
			var super *supernode
			if !alone {
				super = startSupernode(t, loopback(), "supernode", g.reach())
			}
			p := startPeer(t, loopback(), super, g.reach()).puller(t, g.host())
			// The gate lets a tenth through and no more: that one byte is here shows
			// that it did not wait for more.
			o := open(t, p, "cold/layer", layerOf(t, img), 1)
			if sent := g.Sent(); sent > size/10 {
				t.Errorf("%d bytes were fetched before the first one arrived", sent)
			}
			g.Open()
			if err := o.finish(); err != nil {
				t.Error(err)
			}
		})
	}
}
