//go:build linux

package system_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/image"
	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/lab/labtest"
	"github.com/shoal-project/shoal/bench/system"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// TestMain lets the test's own program be the measuring client.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == client.Argument {
		if err := client.Main(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, hosts ...string) (*lab.Lab, *system.Registry) {
	t.Helper()
	if _, err := exec.LookPath(testregistry.Program); err != nil {
		t.Skipf("SKIP: %s is not installed", testregistry.Program)
	}
	config := lab.Default()
	config.Hosts, config.Rate, config.StoreBytes = hosts, 0, 256<<20
	l := labtest.New(t, config)
	registry, err := system.StartRegistry(t.Context(), l.Host(hosts[0]), l.Host(hosts[0]).At(5000))
	if err != nil {
		t.Fatal(err)
	}
	return l, registry
}

func push(t *testing.T, registry *system.Registry) *image.Image {
	t.Helper()
	img, err := image.Make(image.Spec{Layers: 2, LayerBytes: 1 << 20, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Push(t.Context(), img, "bench/a", "one"); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestClientsPullTogetherAndTheLogSaysSo(t *testing.T) {
	l, registry := start(t, "origin", "a", "b")
	img := push(t, registry)
	mark, err := registry.Mark()
	if err != nil {
		t.Fatal(err)
	}
	var clients []*system.Client
	for _, name := range []string{"a", "b"} {
		c, err := system.StartClient(l.Host(name), client.Job{Base: "http://" + registry.Addr().String(), Repository: "bench/a", Reference: "one"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	for i, r := range system.Release(t.Context(), clients) {
		if r.Error != "" || r.Bytes <= img.Bytes() {
			t.Errorf("client %d: %+v", i, r)
		}
	}
	if err := registry.Stop(); err != nil { // so that its log is whole
		t.Fatal(err)
	}
	log, err := registry.Since(mark)
	if err != nil {
		t.Fatal(err)
	}
	for _, digest := range img.Layers() {
		if got := log.BlobBytes()[digest]; got != 2<<20 {
			t.Errorf("the log has %d bytes of layer %s, want it twice", got, digest)
		}
	}
}

func TestForgottenImageIsGoneAndCanBePushedAgain(t *testing.T) {
	l, registry := start(t, "origin")
	img := push(t, registry)
	if err := registry.Forget(img, "bench/a"); err != nil {
		t.Fatal(err)
	}
	c, err := system.StartClient(l.Host("origin"), client.Job{Base: "http://" + registry.Addr().String(), Repository: "bench/a", Reference: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r := system.Release(t.Context(), []*system.Client{c})[0]; r.Error == "" {
		t.Error("a forgotten image was pulled")
	}
	push(t, registry)
}

func TestFrontPassesEverythingOn(t *testing.T) {
	l, registry := start(t, "origin")
	img := push(t, registry)
	origin := l.Host("origin")
	front, err := system.StartFront(origin, netip.MustParseAddrPort("127.0.0.1:5001"), registry.Addr(), 20e6)
	if err != nil {
		t.Fatal(err)
	}
	c, err := system.StartClient(origin, client.Job{Base: "http://127.0.0.1:5001", Repository: "bench/a", Reference: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := system.Release(t.Context(), []*system.Client{c})[0]
	if r.Error != "" || r.Bytes <= img.Bytes() {
		t.Errorf("through the front: %+v", r)
	}
	// Two megabytes over at most three connections of 20 MB/s, of which the
	// longest carries a layer: never sooner than this, however slow the machine.
	if least := float64(1<<20-128<<10) / 20e6; r.Total < least {
		t.Errorf("took %f s, less than the front allows (%f s)", r.Total, least)
	}
	if err := front.Stop(); err != nil {
		t.Error(err)
	}
}
