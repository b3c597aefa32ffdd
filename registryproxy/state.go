package registryproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/shoal-project/shoal/chunk"
)

// maxRecords bounds each kind of record.
const maxRecords = 10_000

// stateDelay is how long a record may wait to be written with others.
const stateDelay = 500 * time.Millisecond

// tagRecord is what the origin last said of a tag.
type tagRecord struct {
	Digest    chunk.Digest `json:"digest"`
	MediaType string       `json:"mediaType"`
	Size      int64        `json:"size"` // -1 if unknown
	At        time.Time    `json:"at"`
}

// manifestRecord says that a manifest lies in a repository, and as what.
type manifestRecord struct {
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
}

type publicRecord struct {
	At time.Time `json:"at"`
}

func (r tagRecord) valid() bool      { return !r.Digest.IsZero() && len(r.MediaType) <= maxMediaType }
func (r manifestRecord) valid() bool { return len(r.MediaType) <= maxMediaType && r.Size >= 0 }
func (r publicRecord) valid() bool   { return !r.At.IsZero() }

// maxMediaType bounds a media type that an origin claims.
const maxMediaType = 255

// state is what outlives the process: in memory, and behind it, up to
// stateDelay later, in a file.
type state struct {
	tags      *lru[string, tagRecord]
	manifests *lru[string, manifestRecord]
	publics   *lru[string, publicRecord]

	db   *bbolt.DB // nil without a file
	log  *slog.Logger
	mu   sync.Mutex
	todo map[bucketKey][]byte // to be written; nil deletes
	wake chan struct{}
}

type bucketKey struct{ bucket, key string }

const (
	tagBucket      = "tags"
	manifestBucket = "manifests"
	publicBucket   = "public"
)

// openState reads dir's file. A damaged one is replaced: it is a cache.
func openState(dir string, log *slog.Logger) (*state, error) {
	s := &state{
		tags: newLRU[string, tagRecord](maxRecords), manifests: newLRU[string, manifestRecord](maxRecords),
		publics: newLRU[string, publicRecord](maxRecords),
		log:     log, todo: make(map[bucketKey][]byte), wake: make(chan struct{}, 1),
	}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the registry proxy's state directory: %w", err)
	}
	name := filepath.Join(dir, "registryproxy.db")
	err := s.open(name)
	if err != nil && !errors.Is(err, bolterrors.ErrTimeout) && !errors.Is(err, os.ErrPermission) {
		log.Warn("the registry proxy's state is damaged and begins anew", "file", name, "err", err)
		if err := os.Rename(name, name+".damaged"); err != nil {
			return nil, fmt.Errorf("setting damaged state aside: %w", err)
		}
		err = s.open(name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w; is another peer running on this state directory?", name, err)
	}
	return s, nil
}

func (s *state) open(name string) (err error) {
	// bbolt checks pages by panicking; a damaged file must not end the daemon.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading: %v", p)
		}
	}()
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	if err := db.Update(s.load); err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	return nil
}

// load reads what is valid and deletes the rest.
func (s *state) load(tx *bbolt.Tx) error {
	return errors.Join(loadBucket(tx, tagBucket, s.tags), loadBucket(tx, manifestBucket, s.manifests), loadBucket(tx, publicBucket, s.publics))
}

func loadBucket[V interface{ valid() bool }](tx *bbolt.Tx, name string, into *lru[string, V]) error {
	b, err := tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return err
	}
	var drop [][]byte
	err = b.ForEach(func(k, data []byte) error {
		var v V
		if len(into.items) >= into.max || json.Unmarshal(data, &v) != nil || !v.valid() {
			drop = append(drop, append([]byte(nil), k...))
			return nil
		}
		into.put(string(k), v)
		return nil
	})
	for _, k := range drop {
		err = errors.Join(err, b.Delete(k))
	}
	return err
}

// run writes until ctx ends, and what is left then.
func (s *state) run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
			select {
			case <-time.After(stateDelay):
			case <-ctx.Done():
			}
			s.flush()
		case <-ctx.Done():
			s.flush()
			return
		}
	}
}

func (s *state) flush() {
	s.mu.Lock()
	todo := s.todo
	s.todo = make(map[bucketKey][]byte)
	s.mu.Unlock()
	if s.db == nil || len(todo) == 0 {
		return
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		var errs []error
		for k, v := range todo {
			b := tx.Bucket([]byte(k.bucket))
			if v == nil {
				errs = append(errs, b.Delete([]byte(k.key)))
			} else {
				errs = append(errs, b.Put([]byte(k.key), v))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		s.log.Warn("resolved tags were not written and will not survive a restart", "err", err)
	}
}

func (s *state) close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// later queues a record for the file.
func (s *state) later(bucket, key string, v any) {
	if s.db == nil {
		return
	}
	var data []byte
	if v != nil {
		data, _ = json.Marshal(v) // plain structs always marshal
	}
	s.mu.Lock()
	s.todo[bucketKey{bucket, key}] = data
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func keep[V any](s *state, l *lru[string, V], bucket, key string, v V) {
	if gone, evicted := l.put(key, v); evicted {
		s.later(bucket, gone, nil)
	}
	s.later(bucket, key, v)
}

func (s *state) tag(key string) (tagRecord, bool) { return s.tags.get(key) }
func (s *state) setTag(key string, rec tagRecord) { keep(s, s.tags, tagBucket, key, rec) }
func manifestKey(r repo, d chunk.Digest) string   { return r.String() + "@" + d.String() }
func (s *state) setPublic(r repo, now time.Time) {
	keep(s, s.publics, publicBucket, r.String(), publicRecord{now})
}
func (s *state) public(r repo) (time.Time, bool) {
	rec, ok := s.publics.get(r.String())
	return rec.At, ok
}

func (s *state) removePublic(r repo) {
	if _, ok := s.publics.get(r.String()); ok {
		s.publics.remove(r.String())
		s.later(publicBucket, r.String(), nil)
	}
}

func (s *state) manifest(r repo, d chunk.Digest) (manifestRecord, bool) {
	return s.manifests.get(manifestKey(r, d))
}

func (s *state) setManifest(r repo, d chunk.Digest, rec manifestRecord) {
	key := manifestKey(r, d)
	if old, ok := s.manifests.get(key); ok && old == rec {
		return
	}
	keep(s, s.manifests, manifestBucket, key, rec)
}
