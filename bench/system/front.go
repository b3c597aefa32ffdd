//go:build linux

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/shoal-project/shoal/bench/lab"
)

// frontPiece is how much a front passes on at a time; smaller is smoother.
const frontPiece = 64 << 10

// Front stands before a server and gives each connection a bounded rate, as a
// distant registry or a content delivery network does. It bounds what the
// server sends; requests pass at once.
type Front struct {
	listener net.Listener
	host     *lab.Host
	upstream netip.AddrPort
	rate     float64 // bytes per second
	cancel   context.CancelFunc
	serving  sync.WaitGroup
}

// StartFront listens on a host and passes connections on to upstream.
func StartFront(host *lab.Host, addr, upstream netip.AddrPort, bytesPerSecond float64) (*Front, error) {
	if bytesPerSecond <= 0 {
		return nil, fmt.Errorf("a front of %f bytes per second", bytesPerSecond)
	}
	listener, err := host.Listen(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Front{listener: listener, host: host, upstream: upstream, rate: bytesPerSecond, cancel: cancel}
	f.serving.Go(func() { f.accept(ctx) })
	return f, nil
}

// Stop closes the front and all its connections.
func (f *Front) Stop() error {
	f.cancel()
	err := f.listener.Close()
	f.serving.Wait()
	return err
}

func (f *Front) accept(ctx context.Context) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.serving.Go(func() { f.serve(ctx, conn) })
	}
}

// serve carries one connection until either side ends it.
func (f *Front) serve(ctx context.Context, down net.Conn) {
	defer down.Close()
	up, err := f.host.DialContext(ctx, "tcp", f.upstream.String())
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { _ = errors.Join(up.Close(), down.Close()) })()
	var requests sync.WaitGroup
	requests.Go(func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	})
	f.pace(down, up)
	_ = down.Close()
	requests.Wait()
}

// pace copies at the front's rate. Time in which there was nothing to send
// earns no credit beyond one piece.
func (f *Front) pace(to io.Writer, from io.Reader) {
	piece := make([]byte, frontPiece)
	free := time.Now() // when the next piece may go
	for {
		n, err := from.Read(piece)
		if n > 0 {
			time.Sleep(time.Until(free))
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
			spacing := time.Duration(float64(n) / f.rate * float64(time.Second))
			free = latest(free, time.Now().Add(-spacing)).Add(spacing)
		}
		if err != nil {
			return
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
