package assembly

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// base is what every daemon has.
type base struct {
	log     *slog.Logger
	metrics *prometheus.Registry
	dataDir string
	closers []func() error
}

func newBase(dataDir string, log *slog.Logger) (*base, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w; run as root, or set data_dir", err)
	}
	b := &base{log: log, metrics: prometheus.NewRegistry(), dataDir: dataDir}
	b.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return b, nil
}

// close closes what is open, the last opened first.
func (b *base) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	b.closers = nil
	return errors.Join(errs...)
}

func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop what uses the port, or set another", key, err)
	}
	return l, nil
}
