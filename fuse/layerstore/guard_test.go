//go:build linux

package layerstore

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// TestMain lets the tests kill a process that serves a store.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LAYERSTORE_SERVE"); dir != "" {
		os.Exit(serve(dir))
	}
	if dir := os.Getenv("LAYERSTORE_GUARD"); dir != "" {
		if err := Guard(dir, os.Stdin); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve serves an empty store, guarded, until it is killed.
func serve(dir string) int {
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	cfg := Default()
	cfg.Dir, cfg.Mount = filepath.Join(dir, "records"), filepath.Join(dir, "layers")
	cfg.Guard = []string{"/usr/bin/env", "env", "LAYERSTORE_SERVE=", "LAYERSTORE_GUARD=" + cfg.Mount, self}
	s, err := New(cfg, &fake{held: map[string]chunk.Digest{}}, slog.New(slog.DiscardHandler))
	if err != nil || s.Mount() != nil {
		return 1
	}
	fmt.Println("serving")
	select {}
}

// Engines do not work while a store's directory does not answer.
func TestStoreOfAKilledProcessIsUnmounted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	dir := t.TempDir()
	cmd := exec.Command(must(os.Executable())(t))
	cmd.Env = append(os.Environ(), "LAYERSTORE_SERVE="+dir)
	out := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("serving\n"))); err != nil {
		t.Fatal(err)
	}
	if mounted := strings.Contains(string(must(os.ReadFile("/proc/self/mountinfo"))(t)), dir); !mounted {
		t.Fatal("it is not mounted")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()                                                                    // it was killed
	for strings.Contains(string(must(os.ReadFile("/proc/self/mountinfo"))(t)), dir) { // the test's own deadline bounds it
		time.Sleep(time.Millisecond)
	}
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
