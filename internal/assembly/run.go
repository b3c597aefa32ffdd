package assembly

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/exchange"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/daemon"
)

// front is a server for clients on this machine; back is a task that the
// clients need, and that ends after them.
type (
	front struct {
		listener net.Listener
		handler  http.Handler
	}
	back func(context.Context) error
)

// serve runs until ctx ends or something fails: then the fronts finish their
// requests within grace, and after them the backs end.
func (b *base) serve(ctx context.Context, grace time.Duration, fronts []front, backs []back) error {
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBehind()
	before, stopBefore := context.WithCancel(ctx)
	defer stopBefore()
	var backGroup errgroup.Group
	for _, run := range backs {
		backGroup.Go(func() error {
			defer stopBefore() // nothing works without it
			return run(behind)
		})
	}
	frontGroup, before := errgroup.WithContext(before)
	for _, f := range fronts {
		frontGroup.Go(func() error { return daemon.Serve(before, f.listener, f.handler, grace, b.log) })
	}
	err := frontGroup.Wait()
	stopBehind()
	return errors.Join(err, backGroup.Wait())
}

// giver serves chunks to other nodes.
func (p *parts) giver(cfg config.Exchange, uploads distribution.Uploads) (back, error) {
	server, err := exchange.NewServer(cfg.Config, p.identity.Key(), p.key, uploads, p.log, p.giving)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return server.Serve(ctx, p.chunks) }, nil
}

// adminFronts opens the admin port and the Unix socket, and notes where.
func (b *base) adminFronts(cfg config.Admin, d admin.Daemon, listening map[string]string) ([]front, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	if !daemon.IsLoopback(host) {
		b.log.Warn("metrics and status are open to other machines", "setting", "admin.listen", "address", cfg.Listen)
	}
	port, err := listen("admin.listen", cfg.Listen)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, ignoreClosed(port))
	socket, err := daemon.ListenUnix(cfg.Socket)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, ignoreClosed(socket))
	listening["admin"], listening["socket"] = port.Addr().String(), cfg.Socket
	return []front{{port, d.Public()}, {socket, d.Local()}}, nil
}

func ignoreClosed(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// writable tells why nothing can be written below the data directory.
func (b *base) writable() error {
	path := filepath.Join(b.dataDir, ".ready")
	err := os.WriteFile(path, []byte("probe\n"), 0o600)
	if err = errors.Join(err, os.Remove(path)); err != nil {
		return fmt.Errorf("the data directory cannot be written: %w", err)
	}
	return nil
}
