package registryproxy

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/shoal-project/shoal/chunk"
)

func openTestState(t *testing.T, dir string) *state {
	t.Helper()
	s, err := openState(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStateSurvives(t *testing.T) {
	dir, r, d := t.TempDir(), repo{"quay.io", "org/app"}, chunk.SumBytes([]byte("x"))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := openTestState(t, dir)
	s.setTag("key", tagRecord{d, ociManifest, 7, at})
	s.setManifest(r, d, manifestRecord{ociManifest, 7})
	s.setPublic(r, at)
	s.setPublic(repo{"gone", "x"}, at)
	s.removePublic(repo{"gone", "x"})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.run(ended)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = openTestState(t, dir)
	defer func() { _ = s.close() }()
	if rec, ok := s.tag("key"); !ok || rec.Digest != d || rec.MediaType != ociManifest || rec.Size != 7 || !rec.At.Equal(at) {
		t.Errorf("tag %+v", rec)
	}
	if rec, ok := s.manifest(r, d); !ok || rec != (manifestRecord{ociManifest, 7}) {
		t.Errorf("manifest %+v", rec)
	}
	if got, ok := s.public(r); !ok || !got.Equal(at) {
		t.Errorf("public at %s", got)
	}
	if _, ok := s.public(repo{"gone", "x"}); ok {
		t.Error("a removed record came back")
	}
}

// TestHostileState: records that no Shoal wrote are dropped, and so are those
// beyond the bound.
func TestHostileState(t *testing.T) {
	dir := t.TempDir()
	db, err := bbolt.Open(filepath.Join(dir, "registryproxy.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"", "{", "[]", `{"digest":"sha256:00"}`, `{}`, `{"digest":"sha256:` + strings.Repeat("a", 64) + `","mediaType":"` + strings.Repeat("x", 256) + `"}`}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(tagBucket))
		for i, v := range bad {
			if err == nil {
				err = b.Put(fmt.Appendf(nil, "%d", i), []byte(v))
			}
		}
		many, err2 := tx.CreateBucket([]byte(publicBucket))
		for i := range maxRecords + 10 {
			if err == nil && err2 == nil {
				err = many.Put(fmt.Appendf(nil, "%d", i), []byte(`{"at":"2026-01-02T03:04:05Z"}`))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openTestState(t, dir)
	defer func() { _ = s.close() }()
	if len(s.tags.items) != 0 || len(s.publics.items) != maxRecords {
		t.Errorf("%d tags and %d public repositories were read", len(s.tags.items), len(s.publics.items))
	}
}

func TestLRU(t *testing.T) {
	l := newLRU[int, string](2)
	l.put(1, "one")
	l.put(2, "two")
	l.get(1)
	if gone, evicted := l.put(3, "three"); !evicted || gone != 2 {
		t.Errorf("%d had to go", gone)
	}
	if _, evicted := l.put(3, "again"); evicted {
		t.Error("replacing evicts")
	}
	if v, ok := l.get(3); !ok || v != "again" {
		t.Errorf("3 is %q", v)
	}
	l.remove(1)
	if _, ok := l.get(1); ok {
		t.Error("1 is still there")
	}
}
