package derive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/layer"
)

// blobBuffer is how many bytes of a blob are handed on at a time.
const blobBuffer = 1 << 20

func (d *Deriver) mapPath(diffID chunk.Digest) string {
	return filepath.Join(d.cfg.Dir, "maps", diffID.Hex()+".map")
}

// layerWork begins, or joins, the making of one layer.
func (d *Deriver) layerWork(src distribution.Source, l distribution.Layer) *work {
	return d.share("layer "+l.DiffID.Hex(), func(ctx context.Context, w *work) error {
		if d.hasLayer(l.DiffID) {
			w.progress.Store(l.Size)
			return nil
		}
		if err := d.makeLayer(ctx, w, src, l); err != nil {
			d.deps.Metrics.Layers.WithLabelValues("failed").Inc()
			return fmt.Errorf("layer %s: %w", l.Blob, err)
		}
		d.deps.Metrics.Layers.WithLabelValues("made").Inc()
		return nil
	})
}

// hasLayer tells whether the layer's map and all its objects are here.
func (d *Deriver) hasLayer(diffID chunk.Digest) bool {
	objects, known := d.needs.of(diffID)
	if !known {
		m, err := layer.OpenMap(d.mapPath(diffID))
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				d.deps.Log.Warn("a layer map is unreadable; it is made anew", "diff_id", diffID.String(), "error", err)
			}
			return false
		}
		defer m.Close()
		if m.DiffID() != diffID {
			return false
		}
		objects = m.Objects()
		d.needs.keep(diffID, objects)
	}
	return !slices.ContainsFunc(objects, func(o layer.Object) bool {
		size, ok := d.deps.Objects.Holds(o.Digest)
		return !ok || size != o.Size
	})
}

// makeLayer reads the blob once. The blob's own digest is the engine's to check,
// the diffID layer.Build's; only when both matched are the objects sealed and the
// map kept.
func (d *Deriver) makeLayer(ctx context.Context, w *work, src distribution.Source, l distribution.Layer) (err error) {
	began := time.Now()
	src.Digest = l.Blob
	blob, err := d.deps.Objects.Open(ctx, src)
	if err != nil {
		return err
	}
	defer blob.Close()
	if blob.Size() != l.Size {
		return fmt.Errorf("it has %d bytes; the manifest says %d", blob.Size(), l.Size)
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return errClosed
	}
	made := filepath.Join(d.cfg.Dir, "tmp", l.DiffID.Hex()+".map")
	defer os.Remove(made)
	s := newSink(d.deps.Store)
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	k := d.known.reader()
	sum, err := d.build(ctx, w, blob, l, s, k, made)
	if err != nil && k.lost {
		// A pack of an earlier layer was evicted meanwhile: this one stands alone.
		w.progress.Store(0)
		sum, err = d.build(ctx, w, blob, l, s, nil, made)
	}
	if err != nil {
		return err
	}
	if err := blob.Wait(ctx); err != nil {
		return err
	}
	if err := s.seal(ctx, d.deps.Key); err != nil {
		return err
	}
	if err := d.adopt(made, l.DiffID); err != nil {
		return err
	}
	d.deps.Metrics.Plain.Add(float64(sum.Plain))
	d.deps.Log.Info("layer mapped", "layer", l.Blob.String(), "bytes", l.Size, "plain", sum.Plain, "entries", sum.Entries,
		"objects", sum.Objects, "reused_files", sum.Reused, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// build streams the blob through layer.Build.
func (d *Deriver) build(ctx context.Context, w *work, blob distribution.Reader, l distribution.Layer, s *sink, k layer.Known, made string) (*layer.Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, pipe := io.Pipe()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buffered := bufio.NewWriterSize(counting{pipe, w}, blobBuffer)
		_, err := blob.CopyRange(ctx, buffered, 0, blob.Size())
		if err == nil {
			err = buffered.Flush()
		}
		_ = pipe.CloseWithError(err)
	}()
	sum, err := layer.Build(ctx, r, layer.Descriptor{Blob: l.Blob, Size: l.Size, DiffID: l.DiffID}, s, k, d.cfg.Limits, made)
	cancel(err)
	_ = r.CloseWithError(err)
	<-copied
	return sum, err
}

// counting tells how far the blob is.
type counting struct {
	w    io.Writer
	work *work
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.work.progress.Add(int64(n))
	return n, err
}

// adopt makes the map count, and remembers where its small files lie.
func (d *Deriver) adopt(made string, diffID chunk.Digest) error {
	if err := os.Rename(made, d.mapPath(diffID)); err != nil {
		return err
	}
	m, err := layer.OpenMap(d.mapPath(diffID))
	if err != nil {
		return err
	}
	defer m.Close()
	d.needs.keep(diffID, m.Objects())
	if err := d.known.learn(m); err != nil {
		d.deps.Log.Warn("what a layer has in common with later ones is not remembered", "diff_id", diffID.String(), "error", err)
	}
	return nil
}
