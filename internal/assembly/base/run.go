package base

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/daemon"
)

// Front is a server for clients on this machine; Back is a task that the
// clients need, and that ends after them.
type (
	Front struct {
		Listener net.Listener
		Handler  http.Handler
	}
	Back func(context.Context) error
)

// Serve runs until ctx ends or something fails: then the fronts finish their
// requests within grace, and after them the backs end.
func (b *Base) Serve(ctx context.Context, grace time.Duration, fronts []Front, backs []Back) error {
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
		frontGroup.Go(func() error { return daemon.Serve(before, f.Listener, f.Handler, grace, b.Log) })
	}
	err := frontGroup.Wait()
	stopBehind()
	return errors.Join(err, backGroup.Wait())
}

// AdminFronts opens the admin port and the Unix socket, and notes where.
func (b *Base) AdminFronts(cfg config.Admin, d admin.Daemon, listening map[string]string) ([]Front, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	if !daemon.IsLoopback(host) {
		b.Log.Warn("metrics and status are open to other machines", "setting", "admin.listen", "address", cfg.Listen)
	}
	port, err := b.Listen("admin.listen", cfg.Listen)
	if err != nil {
		return nil, err
	}
	socket, err := daemon.ListenUnix(cfg.Socket)
	if err != nil {
		return nil, err
	}
	b.OnClose(ignoreClosed(socket))
	listening["admin"], listening["socket"] = port.Addr().String(), cfg.Socket
	return []Front{{port, d.Public()}, {socket, d.Local()}}, nil
}

// Listen opens a TCP port, which Close closes; key is its setting's name.
func (b *Base) Listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop what uses the port, or set another", key, err)
	}
	b.OnClose(ignoreClosed(l))
	return l, nil
}

func ignoreClosed(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
