//go:build linux

package snapshotter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/shoal-project/shoal/chunk"
)

// store keeps the snapshots' records; doc.go describes the file.
type store struct {
	db *bbolt.DB
}

// imageKey names a recorded image: the SHA-256 of its JSON.
type imageKey = chunk.Digest

var rootBucket = []byte("snapshots.v1")

// openWait is how long an earlier process may take to let go of the file.
const openWait = 5 * time.Second

func openStore(path string) (s *store, err error) {
	// bbolt checks pages by panicking; a damaged file must not end the daemon.
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("reading %s: %v; stop containerd and this daemon, remove the file's directory, and pull the images again", path, p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openWait, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w; is another daemon running on this directory?", path, err)
	}
	s = &store{db}
	if err := db.Update(makeBuckets); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", path, err), db.Close())
	}
	return s, nil
}

func makeBuckets(tx *bbolt.Tx) error {
	root, err := tx.CreateBucketIfNotExists(rootBucket)
	if err != nil {
		return err
	}
	for _, name := range []string{"snapshots", "children", "images", "shows"} {
		if _, err := root.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// tx is one transaction on all four buckets.
type tx struct {
	snapshots, children, images, shows *bbolt.Bucket
}

func newTx(t *bbolt.Tx) tx {
	root := t.Bucket(rootBucket)
	of := func(name string) *bbolt.Bucket { return root.Bucket([]byte(name)) }
	return tx{of("snapshots"), of("children"), of("images"), of("shows")}
}

func (s *store) view(do func(tx) error) error {
	return s.db.View(func(t *bbolt.Tx) error { return do(newTx(t)) })
}

// update is durable when it returns.
func (s *store) update(do func(tx) error) error {
	return s.db.Update(func(t *bbolt.Tx) error { return do(newTx(t)) })
}

// get is a snapshot by its name or key.
func (t tx) get(name string) (*snapshot, error) {
	data := t.snapshots.Get([]byte(name))
	if data == nil {
		return nil, fmt.Errorf("snapshot %s: %w", name, errNotFound)
	}
	s := &snapshot{Name: name}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("the record of snapshot %s is damaged: %w", name, err)
	}
	return s, nil
}

// put writes a record with its link from the parent.
func (t tx) put(s *snapshot) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if s.Parent != "" {
		parent, err := t.get(s.Parent)
		if err != nil {
			return err
		}
		if err := t.children.Put(pair(parent.ID, s.ID), []byte(s.Name)); err != nil {
			return err
		}
	}
	return t.snapshots.Put([]byte(s.Name), data)
}

// free tells why a name cannot be given to a new snapshot.
func (t tx) free(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a snapshot needs a name: %w", errInvalid)
	case len(name) > bbolt.MaxKeySize:
		return fmt.Errorf("a snapshot's name of %d bytes is too long: %w", len(name), errInvalid)
	case t.snapshots.Get([]byte(name)) != nil:
		return fmt.Errorf("snapshot %s: %w", name, errExists)
	}
	return nil
}

// parentOf is the snapshot on which another may be made; nil for none.
func (t tx) parentOf(name string) (*snapshot, error) {
	if name == "" {
		return nil, nil
	}
	p, err := t.get(name)
	if err != nil {
		return nil, fmt.Errorf("parent: %w", err)
	}
	if p.Kind != kindCommitted {
		return nil, fmt.Errorf("parent %s is not committed: %w", name, errInvalid)
	}
	return p, nil
}

// childrenOf lists the names of the snapshots made on one.
func (t tx) childrenOf(id uint64) []string {
	var names []string
	prefix := binary.BigEndian.AppendUint64(nil, id)
	cursor := t.children.Cursor()
	for k, v := cursor.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cursor.Next() {
		names = append(names, string(v))
	}
	return names
}

// remove deletes a record with its links.
func (t tx) remove(s *snapshot) error {
	if s.Parent != "" {
		parent, err := t.get(s.Parent)
		if err != nil {
			return err
		}
		if err := t.children.Delete(pair(parent.ID, s.ID)); err != nil {
			return err
		}
	}
	if s.Remote != nil {
		if err := t.forgetImage(s); err != nil {
			return err
		}
	}
	return t.snapshots.Delete([]byte(s.Name))
}

// each calls do for every snapshot.
func (t tx) each(do func(*snapshot) error) error {
	return t.snapshots.ForEach(func(name, _ []byte) error {
		s, err := t.get(string(name))
		if err != nil {
			return err
		}
		return do(s)
	})
}

// keepImage records what image a remote snapshot shows.
func (t tx) keepImage(image *Image, id uint64) (imageKey, error) {
	data, err := json.Marshal(image)
	if err != nil {
		return imageKey{}, err
	}
	key := imageKey(sha256.Sum256(data))
	if err := t.images.Put(key[:], data); err != nil {
		return key, err
	}
	return key, t.shows.Put(binary.BigEndian.AppendUint64(key[:], id), nil)
}

func (t tx) image(key imageKey) (*Image, error) {
	image := new(Image)
	if err := json.Unmarshal(t.images.Get(key[:]), image); err != nil {
		return nil, fmt.Errorf("the record of image %s is damaged: %w; remove the image and pull it again", key, err)
	}
	return image, nil
}

// forgetImage takes the record of an image away with the last that shows it.
func (t tx) forgetImage(s *snapshot) error {
	key := s.Remote.Image
	if err := t.shows.Delete(binary.BigEndian.AppendUint64(key[:], s.ID)); err != nil {
		return err
	}
	if k, _ := t.shows.Cursor().Seek(key[:]); bytes.HasPrefix(k, key[:]) {
		return nil
	}
	return t.images.Delete(key[:])
}

func pair(parent, child uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, parent), child)
}
