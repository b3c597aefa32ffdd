package diskstore

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// quiet is a configuration without background work by time, so that tests say
// when content becomes durable.
func quiet() Config {
	cfg := Default()
	cfg.MinFree, cfg.SyncInterval, cfg.SyncBytes = 0, 0, 1<<40
	return cfg
}

func openStore(t testing.TB, dir string, cfg Config) *Store {
	t.Helper()
	s, err := Open(dir, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// killed is a copy of a store's directory as a kill would leave it: what the
// kernel was given is there, what only the process knew is not.
func killed(t testing.TB, s *Store) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConformance(t *testing.T) {
	storetest.Run(t,
		func(t *testing.T) chunk.Store { return openStore(t, t.TempDir(), Default()) },
		storetest.WithQuota(func(t *testing.T, quota int64) chunk.Store {
			cfg := Default()
			cfg.Quota = quota
			return openStore(t, t.TempDir(), cfg)
		}),
		storetest.WithReopen(func(t *testing.T, old chunk.Store) chunk.Store {
			return openStore(t, killed(t, old.(*Store)), Default())
		}))
}

func TestConformanceSyncingAlways(t *testing.T) {
	storetest.Run(t, func(t *testing.T) chunk.Store {
		cfg := quiet()
		cfg.SyncBytes = 0
		return openStore(t, t.TempDir(), cfg)
	})
}

func TestDirectoryModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	s := openStore(t, dir, quiet())
	c := storetest.NewContent(1, 10)
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may use it", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
