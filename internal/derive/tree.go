package derive

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/layer"
)

// Tree makes the tree that shows a view of an image whose layers' blobs come on
// the word of src. It tells how far the layers are, in bytes of blobs.
// An error is about the image as a whole: the ordinary pull still works.
func (d *Deriver) Tree(ctx context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) (*layer.Binding, error) {
	if len(view.Layers) > layer.MaxLayers {
		return nil, fmt.Errorf("it has %d layers; at most %d can be served lazily", len(view.Layers), layer.MaxLayers)
	}
	key := viewKey(view)
	err := d.treeOf(ctx, src, key, view, tell)
	if errors.Is(err, errMapLost) { // since it was read last
		err = d.treeOf(ctx, src, key, view, tell)
	}
	if err != nil {
		return nil, err
	}
	b := d.binding(key)
	if b == nil {
		return nil, errors.New("the tree vanished while it was made: the disk may be failing")
	}
	return b, nil
}

func (d *Deriver) treeOf(ctx context.Context, src distribution.Source, key chunk.Digest, view distribution.View, tell func(done, total int64)) error {
	if err := d.layers(ctx, src, view.Layers, tell); err != nil {
		return err
	}
	w := d.share("tree "+key.Hex(), func(ctx context.Context, _ *work) error { return d.makeTree(key, view) })
	return w.wait(ctx)
}

// viewKey names a list of diffIDs, and a form of its tree.
func viewKey(view distribution.View) chunk.Digest {
	h := sha256.New()
	if view.Lower {
		h.Write([]byte{byte(layer.FormLower)}) // no list of diffIDs begins with one odd byte
	}
	for _, l := range view.Layers {
		h.Write(l.DiffID[:])
	}
	return chunk.Digest(h.Sum(nil))
}

// layers has all layers made, and tells of it meanwhile.
func (d *Deriver) layers(ctx context.Context, src distribution.Source, layers []distribution.Layer, tell func(done, total int64)) error {
	const every = 100 * time.Millisecond
	works := make([]*work, len(layers))
	var total int64
	for i, l := range layers {
		works[i] = d.layerWork(src, l)
		total += l.Size
	}
	progress := func() {
		var done int64
		for _, w := range works {
			done += w.progress.Load()
		}
		tell(min(done, total), total)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for _, w := range works {
		for ended := false; !ended; {
			select {
			case <-w.done:
				if w.err != nil {
					return w.err
				}
				ended = true
			case <-ticker.C:
				progress()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	progress()
	return nil
}

func (d *Deriver) bindingPath(key chunk.Digest) string {
	return filepath.Join(d.cfg.Dir, "trees", key.Hex()+".binding")
}

// binding is the statement that was made before, if its tree is whole here.
func (d *Deriver) binding(key chunk.Digest) *layer.Binding {
	data, err := os.ReadFile(d.bindingPath(key))
	if err != nil {
		return nil
	}
	b, err := layer.ParseBinding(data)
	if err != nil || b.Verify([]ed25519.PublicKey{d.deps.Key.Public().(ed25519.PublicKey)}) != nil {
		return nil
	}
	if size, ok := d.deps.Objects.Holds(b.Tree); !ok || size != b.Size {
		return nil
	}
	return b
}

// makeTree merges the maps, unless that was done before.
func (d *Deriver) makeTree(key chunk.Digest, view distribution.View) error {
	if d.binding(key) != nil {
		return nil
	}
	began := time.Now()
	file, err := os.CreateTemp(filepath.Join(d.cfg.Dir, "tmp"), "tree-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	tree, err := d.merge(view, file)
	if err != nil {
		return err
	}
	b := &layer.Binding{Size: tree.Size}
	if view.Lower {
		b.Form, b.Plain = layer.FormLower, tree.Plain
	}
	for _, l := range view.Layers {
		b.DiffIDs = append(b.DiffIDs, l.DiffID)
	}
	if b.Tree, err = d.keepTree(file, tree.Size); err != nil {
		return err
	}
	if err := b.Sign(d.deps.Key); err != nil {
		return err
	}
	if err := d.keepBinding(key, b); err != nil {
		return err
	}
	d.deps.Metrics.Trees.Inc()
	d.deps.Log.Info("image tree made", "tree", b.Tree.String(), "bytes", tree.Size, "entries", tree.Entries,
		"objects", len(tree.Objects), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// errMapLost says that a layer's map cannot be read any more.
var errMapLost = errors.New("a layer's map is damaged")

func (d *Deriver) merge(view distribution.View, w io.Writer) (*layer.Tree, error) {
	maps := make([]*layer.Map, 0, len(view.Layers))
	defer func() {
		for _, m := range maps {
			_ = m.Close()
		}
	}()
	for _, l := range view.Layers {
		m, err := layer.OpenMap(d.mapPath(l.DiffID))
		if err != nil {
			d.needs.forget(l.DiffID)
			return nil, fmt.Errorf("%w: %w", errMapLost, err)
		}
		maps = append(maps, m)
	}
	if view.Lower {
		return layer.Lower(maps, w)
	}
	return layer.Merge(maps, w)
}

// keepTree moves the tree into the store and seals it.
func (d *Deriver) keepTree(file *os.File, size int64) (chunk.Digest, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return chunk.Digest{}, err
	}
	in, err := d.deps.Store.Ingest(size)
	if err != nil {
		return chunk.Digest{}, err
	}
	if _, err := io.CopyN(in, file, size); err != nil {
		return chunk.Digest{}, errors.Join(err, in.Abort())
	}
	obj, err := in.Commit()
	if err != nil {
		return chunk.Digest{}, err
	}
	defer obj.Close()
	return obj.Digest(), sealObject(obj, chunk.KindTree, d.deps.Key)
}

// keepBinding writes the statement durably.
func (d *Deriver) keepBinding(key chunk.Digest, b *layer.Binding) error {
	data, err := b.MarshalBinary()
	if err != nil {
		return err
	}
	return persist.Replace(d.bindingPath(key), filepath.Join(d.cfg.Dir, "tmp", key.Hex()+".binding"), data)
}
