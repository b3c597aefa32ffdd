package containerd

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/containerd/containerdtest"
)

func connect(t *testing.T, socket string) *Client {
	t.Helper()
	c, err := New(socket, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func describe(data []byte) Descriptor {
	return Descriptor{Digest: chunk.SumBytes(data), Size: int64(len(data))}
}

func TestWrite(t *testing.T) {
	e := containerdtest.Start(t)
	c := connect(t, e.Socket)
	big := bytes.Repeat([]byte("0123456789abcdef"), 3*step/16+5)
	for name, data := range map[string][]byte{"empty": {}, "one byte": {1}, "several messages": big} {
		d := describe(data)
		if err := c.Write(t.Context(), d, bytes.NewReader(data), map[string]string{"a": name}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !e.Has(d.Digest) {
			t.Errorf("%s is not there", name)
		}
		if err := c.Write(t.Context(), d, bytes.NewReader(data), map[string]string{"b": "again"}); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
		if diff := cmp.Diff(map[string]string{"a": name, "b": "again"}, e.Labels(d.Digest)); diff != "" {
			t.Errorf("%s: labels (-want +got)\n%s", name, diff)
		}
	}
	if err := c.Write(t.Context(), describe([]byte("x")), strings.NewReader("y"), nil); err == nil {
		t.Error("other bytes than the digest's were taken")
	}
}

// counted counts the bytes that are read.
type counted struct {
	*bytes.Reader
	read int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

func TestWriteGoesOnWhereItBrokeOff(t *testing.T) {
	e := containerdtest.Start(t)
	data := bytes.Repeat([]byte("abcdefgh"), 4*step/8)
	e.BreakAt(3 * step)
	if err := connect(t, e.Socket).Write(t.Context(), describe(data), bytes.NewReader(data), nil); err == nil || !strings.Contains(err.Error(), "the disk went away") {
		t.Fatalf("a write that breaks off: %v", err)
	}
	from := &counted{Reader: bytes.NewReader(data)}
	if err := connect(t, e.Socket).Write(t.Context(), describe(data), from, nil); err != nil || !e.Has(chunk.SumBytes(data)) {
		t.Fatalf("the next one: %v", err)
	}
	if from.read != step {
		t.Errorf("the next one sent %d bytes, want %d", from.read, step)
	}
}

func TestWriteWaitsForAnother(t *testing.T) {
	e := containerdtest.Start(t)
	c := connect(t, e.Socket)
	d := describe([]byte("x"))
	unlock := e.Lock("layer-" + d.Digest.String())
	ctx, cancel := context.WithTimeout(t.Context(), 2*busyPause)
	defer cancel()
	if err := c.Write(ctx, d, strings.NewReader("x"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while somebody else writes: %v", err)
	}
	written := make(chan error, 1)
	go func() { written <- c.Write(t.Context(), d, strings.NewReader("x"), nil) }()
	unlock()
	if err := <-written; err != nil || !e.Has(d.Digest) {
		t.Errorf("after it: %v", err)
	}
}

func TestRead(t *testing.T) {
	e := containerdtest.Start(t)
	c := connect(t, e.Socket)
	d := e.Add([]byte("a manifest"), nil)
	if got, err := c.Read(t.Context(), d, 100); err != nil || string(got) != "a manifest" {
		t.Errorf("Read: %q, %v", got, err)
	}
	if _, err := c.Read(t.Context(), d, 9); err == nil || !strings.Contains(err.Error(), "more than 9 bytes") {
		t.Errorf("too large a one: %v", err)
	}
	if _, err := c.Read(t.Context(), chunk.SumBytes(nil), 9); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	e.Corrupt(d)
	if _, err := c.Read(t.Context(), d, 100); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("a wrong one: %v", err)
	}
}

func TestLease(t *testing.T) {
	e := containerdtest.Start(t)
	c := connect(t, e.Socket)
	d := e.Add([]byte("x"), map[string]string{"k": "v"})
	ctx, release, err := c.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if labels, err := c.Keep(ctx, d); err != nil || labels["k"] != "v" {
		t.Errorf("Keep: %v, %v", labels, err)
	}
	if labels, err := c.Keep(ctx, chunk.SumBytes(nil)); err != nil || labels != nil {
		t.Errorf("Keep of what is not there: %v, %v", labels, err)
	}
	if there, err := c.Committed(ctx, "shoal", "a"); err != nil || there {
		t.Errorf("Committed: %t, %v", there, err)
	}
	if err := errors.Join(release(t.Context()), release(t.Context())); err != nil {
		t.Error(err)
	}
	made, released, kept := e.Leases()
	want := []string{"content " + d.String(), "content " + chunk.SumBytes(nil).String(), "snapshots/shoal a"}
	if diff := cmp.Diff(want, kept); diff != "" || made != 1 || released != 1 {
		t.Errorf("%d made, %d released, kept (-want +got)\n%s", made, released, diff)
	}
}

func TestImageAndSnapshotter(t *testing.T) {
	e := containerdtest.Start(t)
	c := connect(t, e.Socket)
	if _, err := c.Image(t.Context(), "app"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Image: %v", err)
	}
	for _, data := range []string{"one", "two"} {
		want := describe([]byte(data))
		if err := c.SetImage(t.Context(), "app", want); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Image(t.Context(), "app"); err != nil || got.Digest != want.Digest {
			t.Errorf("Image: %v, %v", got, err)
		}
	}
	for name, want := range map[string]bool{"shoal": true, "overlayfs": false} {
		if proxied, err := c.Snapshotter(t.Context(), name); err != nil || proxied != want {
			t.Errorf("Snapshotter %s: %t, %v", name, proxied, err)
		}
	}
	if _, err := c.Snapshotter(t.Context(), "zfs"); err == nil || !strings.Contains(err.Error(), `"overlayfs" "shoal"`) {
		t.Errorf("an unknown snapshotter: %v", err)
	}
}

func TestNoSnapshotterIsSaid(t *testing.T) {
	e := containerdtest.Start(t)
	e.Away()
	if _, err := connect(t, e.Socket).Prepare(t.Context(), "shoal", "a", "", nil); err == nil || !strings.Contains(err.Error(), "`lazyfs serve`") {
		t.Errorf("Prepare: %v", err)
	}
}

func TestNoContainerdIsSaid(t *testing.T) {
	c := connect(t, filepath.Join(t.TempDir(), "none"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Image(ctx, "app"); err == nil || !strings.Contains(err.Error(), "name its socket with --address") {
		t.Errorf("Image: %v", err)
	}
}
