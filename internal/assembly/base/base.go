package base

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Base is what every daemon has.
type Base struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
	DataDir string
	closers []func() error
}

// New makes the data directory. The caller closes the Base.
func New(dataDir string, log *slog.Logger) (*Base, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w; run as root, or set data_dir", err)
	}
	b := &Base{Log: log, Metrics: prometheus.NewRegistry(), DataDir: dataDir}
	b.Metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return b, nil
}

// OnClose has Close call what closes a part that was opened just now.
func (b *Base) OnClose(closer func() error) { b.closers = append(b.closers, closer) }

// Close closes what is open, the last opened first.
func (b *Base) Close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	b.closers = nil
	return errors.Join(errs...)
}

// Writable tells why nothing can be written below the data directory.
func (b *Base) Writable() error {
	path := filepath.Join(b.DataDir, ".ready")
	err := os.WriteFile(path, []byte("probe\n"), 0o600)
	if err = errors.Join(err, os.Remove(path)); err != nil {
		return fmt.Errorf("the data directory cannot be written: %w", err)
	}
	return nil
}
