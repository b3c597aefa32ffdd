package derive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/memstore"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/layer"
	"github.com/shoal-project/shoal/layer/erofs"
)

// origin gives blobs, and tells what the store holds under a seal.
type origin struct {
	store chunk.Store
	key   ed25519.PublicKey
	opens atomic.Int32

	mu    sync.Mutex
	blobs map[chunk.Digest][]byte
}

func (o *origin) Open(_ context.Context, src distribution.Source) (distribution.Reader, error) {
	o.opens.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	data, ok := o.blobs[src.Digest]
	if !ok {
		return nil, &distribution.OriginError{Status: 404, Message: "no such blob"}
	}
	return &blob{data, chunk.SumBytes(data) == src.Digest}, nil
}

func (o *origin) Holds(id chunk.Digest) (int64, bool) {
	obj, err := o.store.Open(id)
	if err != nil {
		return 0, false
	}
	defer obj.Close()
	list, seal, ok := obj.Sealed()
	return obj.Size(), ok && obj.Have().Full() && seal.Verify(list, []ed25519.PublicKey{o.key}) == nil
}

type blob struct {
	data  []byte
	right bool
}

func (b *blob) Size() int64  { return int64(len(b.data)) }
func (b *blob) Close() error { return nil }
func (b *blob) CopyRange(_ context.Context, w io.Writer, off, n int64) (int64, error) {
	k, err := w.Write(b.data[off : off+n])
	return int64(k), err
}
func (b *blob) Wait(context.Context) error {
	if !b.right {
		return errors.New("the whole does not match its digest")
	}
	return nil
}

// fixture is a Deriver over a store and an origin in memory.
type fixture struct {
	*Deriver
	origin *origin
	store  chunk.Store
}

func setUp(t *testing.T, dir string) *fixture {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	store := memstore.New(0)
	o := &origin{store: store, key: key.Public().(ed25519.PublicKey), blobs: map[chunk.Digest][]byte{}}
	d, err := Open(Config{Dir: dir, Parallel: 2, Limits: layer.DefaultLimits()}, Deps{
		Objects: o, Store: store, Key: key, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{d, o, store}
}

// content is reproducible bytes that do not compress.
func content(seed uint64, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	return p
}

// layer puts a gzip layer of the files into the origin.
func (f *fixture) layer(t *testing.T, files map[string][]byte, order ...string) distribution.Layer {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, name := range order {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(plain.Bytes())
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	l := distribution.Layer{Blob: chunk.SumBytes(packed.Bytes()), Size: int64(packed.Len()), DiffID: chunk.SumBytes(plain.Bytes())}
	f.origin.mu.Lock()
	defer f.origin.mu.Unlock()
	f.origin.blobs[l.Blob] = packed.Bytes()
	return l
}

func some() (map[string][]byte, []string) {
	files := map[string][]byte{"large": content(1, 5<<20)}
	order := []string{"large"}
	for i := range 200 {
		name := fmt.Sprintf("small%03d", i)
		files[name] = content(uint64(i+2), 10_000)
		order = append(order, name)
	}
	return files, order
}

func (f *fixture) tree(t *testing.T, layers ...distribution.Layer) *layer.Binding {
	t.Helper()
	b, err := f.Tree(t.Context(), distribution.Source{Registry: "r", Repository: "n"}, distribution.View{Layers: layers}, func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read gives a file's bytes out of the store, by way of the tree.
func (f *fixture) read(t *testing.T, b *layer.Binding, name string) []byte {
	t.Helper()
	image, err := erofs.Open(f.object(t, b.Tree))
	if err != nil {
		t.Fatal(err)
	}
	root, err := image.Inode(image.Root())
	if err != nil {
		t.Fatal(err)
	}
	nid, _, err := image.Lookup(&root, name)
	if err != nil {
		t.Fatal(err)
	}
	node, err := image.Inode(nid)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for off := int64(0); off < node.Size; {
		x, err := image.Extent(&node, off)
		if err != nil {
			t.Fatal(err)
		}
		device, err := image.Device(x.Device)
		if err != nil {
			t.Fatal(err)
		}
		n := min(x.Length, node.Size-off)
		got = append(got, f.object(t, device.Object)[x.Offset:x.Offset+n]...)
		off += n
	}
	return got
}

// object is a whole, sealed object's bytes.
func (f *fixture) object(t *testing.T, id chunk.Digest) []byte {
	t.Helper()
	size, ok := f.origin.Holds(id)
	if !ok {
		t.Fatalf("object %s is not whole under a seal", id)
	}
	obj, err := f.store.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	p := make([]byte, size)
	if _, err := obj.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTreeOfAnImage(t *testing.T) {
	f := setUp(t, t.TempDir())
	files, order := some()
	l := f.layer(t, files, order...)
	b := f.tree(t, l)
	if err := b.Verify([]ed25519.PublicKey{f.origin.key}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"large", "small000", "small199"} {
		if !bytes.Equal(f.read(t, b, name), files[name]) {
			t.Errorf("%s has other bytes", name)
		}
	}
	if again := f.tree(t, l); again.Tree != b.Tree || f.origin.opens.Load() != 1 {
		t.Errorf("asked again: tree %s after %s, the blob was opened %d times", again.Tree, b.Tree, f.origin.opens.Load())
	}
}

func TestManyWantOneImage(t *testing.T) {
	f := setUp(t, t.TempDir())
	files, order := some()
	l := f.layer(t, files, order...)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { f.tree(t, l, l) })
	}
	wg.Wait()
	if got := f.origin.opens.Load(); got != 1 {
		t.Errorf("the blob was opened %d times", got)
	}
}

func TestUpgradeKeepsWhatDidNotChange(t *testing.T) {
	f := setUp(t, t.TempDir())
	files, order := some()
	f.tree(t, f.layer(t, files, order...))
	before := f.store.Usage().Bytes
	for i := 0; i < 200; i += 50 {
		files[fmt.Sprintf("small%03d", i)] = content(uint64(i+5000), 10_000)
	}
	b := f.tree(t, f.layer(t, files, order...))
	for _, name := range order {
		if !bytes.Equal(f.read(t, b, name), files[name]) {
			t.Fatalf("%s has other bytes", name)
		}
	}
	// Four files of 10 kB changed; the blob itself is not in this store.
	grown := f.store.Usage().Bytes - before - b.Size
	if grown > 200_000 {
		t.Errorf("the second version brought %d bytes of content for 40 kB that changed", grown)
	}
}

func TestEvictedObjectIsMadeAgain(t *testing.T) {
	f := setUp(t, t.TempDir())
	files, order := some()
	l := f.layer(t, files, order...)
	b := f.tree(t, l)
	if err := f.store.Remove(chunk.SumBytes(files["large"])); err != nil {
		t.Fatal(err)
	}
	if again := f.tree(t, l); again.Tree != b.Tree {
		t.Errorf("tree %s, want %s", again.Tree, b.Tree)
	}
	if !bytes.Equal(f.read(t, b, "large"), files["large"]) {
		t.Error("the file has other bytes")
	}
}

func TestLayerThatIsNotWhatItsNameSays(t *testing.T) {
	files, order := some()
	for name, spoil := range map[string]func(f *fixture, l *distribution.Layer){
		"diffID": func(_ *fixture, l *distribution.Layer) { l.DiffID[0]++ },
		"size":   func(_ *fixture, l *distribution.Layer) { l.Size++ },
		"absent": func(_ *fixture, l *distribution.Layer) { l.Blob[0]++ },
		"blob": func(f *fixture, l *distribution.Layer) {
			data := f.origin.blobs[l.Blob]
			l.Blob[0]++
			f.origin.blobs[l.Blob] = data
		},
		"short": func(f *fixture, l *distribution.Layer) {
			data := f.origin.blobs[l.Blob]
			f.origin.blobs[l.Blob] = data[:len(data)/2]
			l.Size = int64(len(data) / 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := setUp(t, dir)
			l := f.layer(t, files, order...)
			spoil(f, &l)
			_, err := f.Tree(t.Context(), distribution.Source{}, distribution.View{Layers: []distribution.Layer{l}}, func(int64, int64) {})
			if err == nil {
				t.Fatal("a tree was made of it")
			}
			for _, o := range f.store.Objects() {
				t.Errorf("object %s stayed in the store", o.Digest)
			}
			for _, sub := range []string{"maps", "trees", "tmp"} {
				if left, err := os.ReadDir(dir + "/" + sub); err != nil || len(left) > 0 {
					t.Errorf("%s: %d files stayed, %v", sub, len(left), err)
				}
			}
		})
	}
}

func TestDamagedStateIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	f := setUp(t, dir)
	files, order := some()
	l := f.layer(t, files, order...)
	b := f.tree(t, l)
	for _, path := range []string{f.mapPath(l.DiffID), f.bindingPath(viewKey(distribution.View{Layers: []distribution.Layer{l}}))} {
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
	}
	if again := f.tree(t, l); again.Tree != b.Tree {
		t.Errorf("tree %s, want %s", again.Tree, b.Tree)
	}
}

func TestImageWithoutLayers(t *testing.T) {
	f := setUp(t, t.TempDir())
	b := f.tree(t)
	image, err := erofs.Open(f.object(t, b.Tree))
	if err != nil {
		t.Fatal(err)
	}
	if root, err := image.Inode(image.Root()); err != nil || root.Mode&0o170000 != 0o040000 {
		t.Errorf("root %+v, %v", root, err)
	}
}

// A layer alone has a statement of its own, which no other is mistaken for.
func TestTreeOfALayerAlone(t *testing.T) {
	f := setUp(t, t.TempDir())
	below := f.layer(t, map[string][]byte{"a": content(1, 1000), "b": content(2, 1000)}, "a", "b")
	above := f.layer(t, map[string][]byte{"c": content(3, 5000), ".wh.a": nil}, "c", ".wh.a")
	all := []distribution.Layer{below, above}
	root := f.tree(t, all...)
	for range 2 { // made, and remembered
		b, err := f.Tree(t.Context(), distribution.Source{}, distribution.View{Layers: all, Lower: true}, func(int64, int64) {})
		if err != nil {
			t.Fatal(err)
		}
		if b.Form != layer.FormLower || b.Tree == root.Tree || len(b.DiffIDs) != 2 || b.Plain < 5000 {
			t.Errorf("%+v", b)
		}
		if !bytes.Equal(f.read(t, b, "c"), content(3, 5000)) {
			t.Error("c has other bytes")
		}
	}
	if again := f.tree(t, all...); again.Form != layer.FormRoot || again.Tree != root.Tree || again.Plain != 0 {
		t.Errorf("afterwards all of it is %+v", again)
	}
	if f.origin.opens.Load() != 2 {
		t.Errorf("blobs were opened %d times", f.origin.opens.Load())
	}
}
