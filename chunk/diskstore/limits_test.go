package diskstore

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// put stores a whole object of size bytes and closes it.
func put(t testing.TB, s *Store, seed byte, size int) storetest.Content {
	t.Helper()
	c := storetest.NewContent(seed, size)
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	c.Fill(t, o)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

func has(s *Store, c storetest.Content) bool {
	return slices.ContainsFunc(s.Objects(), func(i chunk.Info) bool { return i.Digest == c.Digest })
}

func TestEvictionTellsAndKeepsOrderOverRestart(t *testing.T) {
	dir := t.TempDir()
	cfg := quiet()
	s := openStore(t, dir, cfg)
	a, b, c := put(t, s, 1, 1000), put(t, s, 2, 1000), put(t, s, 3, 1000)
	o, err := s.Open(a.Digest)
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	told := make(chan chunk.Digest, 10)
	cfg.Quota, cfg.HighWatermark, cfg.LowWatermark = 3500, 1, 0.6
	cfg.OnEvict = func(d chunk.Digest) { told <- d }
	s = openStore(t, dir, cfg)
	d := put(t, s, 4, 1000)
	if !has(s, a) || has(s, b) || has(s, c) || !has(s, d) {
		t.Errorf("kept: a %v, b %v, c %v, d %v; want a and d", has(s, a), has(s, b), has(s, c), has(s, d))
	}
	if got := []chunk.Digest{<-told, <-told}; !slices.Contains(got, b.Digest) || !slices.Contains(got, c.Digest) {
		t.Errorf("told of %v, want b and c", got)
	}
	if u := s.Usage(); u.Evicted != 2000 || u.Bytes != 2000 {
		t.Errorf("usage: %+v", u)
	}
}

func TestQuotaLoweredEvictsInTheBackground(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	old := put(t, s, 1, 5000)
	s.Close()
	cfg := quiet()
	told := make(chan chunk.Digest, 1)
	cfg.Quota, cfg.OnEvict = 1000, func(d chunk.Digest) { told <- d }
	openStore(t, dir, cfg)
	if got := <-told; got != old.Digest {
		t.Errorf("evicted %s, want %s", got, old.Digest)
	}
}

func TestFreeSpaceFloor(t *testing.T) {
	cfg := quiet()
	s := openStore(t, t.TempDir(), cfg)
	var free atomic.Int64
	free.Store(10_000)
	s.cfg.MinFree = 5000
	s.free = func() (int64, error) { return free.Load() - s.bytes.Load(), nil }
	old := put(t, s, 1, 4000)
	put(t, s, 2, 1000)
	free.Store(6000)
	kept := put(t, s, 3, 500)
	if has(s, old) || !has(s, kept) {
		t.Error("the floor did not evict the oldest to store a new one")
	}
	free.Store(1000)
	c := storetest.NewContent(4, 100)
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.WriteAt(c.Bytes, 0); !errors.Is(err, chunk.ErrFull) {
		t.Errorf("write below the floor: error %v, want ErrFull", err)
	}
	if b := s.Usage().Bytes; b != 0 {
		t.Errorf("a refused write counts %d bytes", b)
	}
}

func TestRoom(t *testing.T) {
	for _, c := range []struct{ quota, floor, free, want int64 }{
		{0, 0, -1, -1}, {0, 1000, 9000, 12_000}, {10_000, 1000, 9000, 10_000}, {13_000, 1000, 9000, 12_000},
		{10_000, 0, -1, 10_000}, {0, 90_000, 10, 0},
	} {
		cfg := quiet()
		cfg.Quota = c.quota
		s := openStore(t, t.TempDir(), cfg)
		s.charge(4000)
		s.cfg.MinFree = c.floor
		s.free = func() (int64, error) { return c.free, nil }
		if room := s.Room(); room != c.want {
			t.Errorf("%+v: %d", c, room)
		}
	}
}

func TestOneProcessOnly(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, quiet())
	_, err := Open(dir, quiet(), s.log, nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, lockName)) || !strings.Contains(err.Error(), "stop it") {
		t.Errorf("second open: error %v, want one that names the lock and the way out", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir, quiet())
}

func TestConfigReportsEverything(t *testing.T) {
	err := Config{Quota: -1, MinFree: -1, SyncBytes: -1, SyncInterval: -1}.Validate()
	for _, key := range []string{"quota", "min_free", "sync_bytes", "sync_interval"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is missing in: %v", key, err)
		}
	}
	for _, marks := range [][2]float64{{0, 0}, {1.1, 0}, {0.5, 0.6}, {0.5, -1}} {
		if (Config{Quota: 1, HighWatermark: marks[0], LowWatermark: marks[1]}).Validate() == nil {
			t.Errorf("watermarks %v pass", marks)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
}

func TestBackgroundSyncMarksDurable(t *testing.T) {
	cfg := quiet()
	cfg.SyncInterval = time.Millisecond
	s := openStore(t, t.TempDir(), cfg)
	c := put(t, s, 1, chunk.Size+10)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		m, err := readMarks(Path(s.dir, c.Digest), c.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(m.marks, []mark{{state: durable}, {state: durable}}) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("marks are %v half a minute after put", m.marks)
		}
	}
}
