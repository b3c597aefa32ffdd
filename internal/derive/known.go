package derive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer"
)

// known remembers where the bytes of small files lie, over all layers: file digest
// to pack, the pack's size, and offset. It is a cache: an entry whose pack is gone
// is passed over.
type known struct {
	db    *bolt.DB
	store chunk.Store
}

var filesBucket = []byte("files 1")

const placeSize = 32 + 8 + 8

func openKnown(path string, store chunk.Store) (*known, error) {
	options := *bolt.DefaultOptions
	options.Timeout = 5 * time.Second
	options.NoFreelistSync = true
	options.FreelistType = bolt.FreelistMapType
	db, err := bolt.Open(path, 0o600, &options)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w; if it is damaged, delete it: it is rebuilt", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(filesBucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &known{db: db, store: store}, nil
}

func (k *known) Close() error { return k.db.Close() }

// learn remembers the small files of a layer.
func (k *known) learn(m *layer.Map) error {
	objects := m.Objects()
	return k.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(filesBucket)
		var e layer.Entry
		for i := range m.Len() {
			if err := m.Entry(i, &e); err != nil {
				return err
			}
			if e.Type != layer.Regular || e.Object < 0 || !objects[e.Object].Pack || bucket.Get(e.File[:]) != nil {
				continue
			}
			o := objects[e.Object]
			place := binary.BigEndian.AppendUint64(append(make([]byte, 0, placeSize), o.Digest[:]...), uint64(o.Size))
			place = binary.BigEndian.AppendUint64(place, uint64(e.Offset))
			if err := bucket.Put(e.File[:], place); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget drops an entry that proved useless.
func (k *known) forget(file chunk.Digest) {
	_ = k.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(filesBucket).Delete(file[:]) })
}

// reader is the memory as one build sees it; it is not safe for concurrent use.
func (k *known) reader() *knownReader {
	return &knownReader{known: k, packs: map[chunk.Digest]bool{}}
}

// knownReader implements layer.Known and remembers which packs are whole.
type knownReader struct {
	*known
	packs map[chunk.Digest]bool
	lost  bool // bytes that were found could not be read
}

// Find implements layer.Known.
func (r *knownReader) Find(file chunk.Digest) (layer.Place, bool) {
	p := layer.Place{File: file}
	found := false
	_ = r.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(filesBucket).Get(file[:])
		if found = len(v) == placeSize; found {
			copy(p.Object[:], v)
			p.Size = int64(binary.BigEndian.Uint64(v[32:]))
			p.Offset = int64(binary.BigEndian.Uint64(v[40:]))
		}
		return nil
	})
	if !found {
		return p, false
	}
	if !r.whole(p) {
		r.forget(file)
		return p, false
	}
	return p, true
}

// whole tells whether the pack is in the store.
func (r *knownReader) whole(p layer.Place) bool {
	is, asked := r.packs[p.Object]
	if !asked {
		obj, err := r.store.Open(p.Object)
		if err == nil {
			_, _, sealed := obj.Sealed()
			is = sealed && obj.Size() == p.Size && obj.Have().Full()
			_ = obj.Close()
		}
		r.packs[p.Object] = is
	}
	return is
}

// Read implements layer.Known. The bytes are compared with the file's digest.
func (r *knownReader) Read(p layer.Place, buf []byte) (err error) {
	defer func() { r.lost = r.lost || err != nil }()
	obj, err := r.store.Open(p.Object)
	if err != nil {
		return err
	}
	defer obj.Close()
	if p.Offset < 0 || p.Offset+int64(len(buf)) > obj.Size() {
		return fmt.Errorf("file %s does not lie in pack %s", p.File, p.Object)
	}
	if _, err := obj.ReadAt(buf, p.Offset); err != nil {
		return err
	}
	if chunk.SumBytes(buf) != p.File {
		return fmt.Errorf("file %s in pack %s: %w", p.File, p.Object, chunk.ErrCorrupt)
	}
	return nil
}
