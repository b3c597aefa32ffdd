package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/distribution"
)

func newIdentity(t testing.TB) Identity {
	t.Helper()
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// start runs a node; change adjusts its configuration.
func start(t testing.TB, key NetworkKey, change func(*Config)) *Node {
	t.Helper()
	cfg := Default()
	cfg.Listen = "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg, newIdentity(t), key, slog.New(slog.DiscardHandler), NewMetrics(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echo sends every message back.
func echo(ctx context.Context, c distribution.Conn) {
	for {
		m, err := c.Receive(ctx)
		if err != nil || c.Send(ctx, m) != nil {
			return
		}
	}
}

func TestMessagesPassBothWays(t *testing.T) {
	key := NewNetworkKey()
	server, client := start(t, key, nil), start(t, key, func(c *Config) { c.Listen = "" })
	remotes := make(chan distribution.NodeID, 1)
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) {
		remotes <- c.Remote()
		echo(ctx, c)
	})
	ctx := within(t)
	_, port, _ := net.SplitHostPort(server.Addr())
	c, err := client.Dial(ctx, server.ID(), "localhost:"+port, Control)
	if err != nil {
		t.Fatal(err)
	}
	if c.Remote() != server.ID() {
		t.Errorf("dialled %s, want %s", c.Remote(), server.ID())
	}
	if host := c.(*Conn).RemoteHost(); host != "127.0.0.1" {
		t.Errorf("remote host %q", host)
	}
	for _, m := range samples() {
		if err := c.Send(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range samples() {
		got, err := c.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if got := <-remotes; got != client.ID() {
		t.Errorf("the server saw %s, want %s", got, client.ID())
	}
}

func TestClosedStreamsFailOnBothSides(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	ended := make(chan error, 1)
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) {
		for {
			if _, err := c.Receive(ctx); err != nil {
				ended <- err
				return
			}
		}
	})
	ctx := within(t)
	c, err := client.Dial(ctx, server.ID(), server.Addr(), Control)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // what was sent before Close arrives
		if err := c.Send(ctx, &distribution.Leave{}); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the server's stream ended with %v, want io.EOF", err)
	}
	if err := c.Send(ctx, &distribution.Leave{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if _, err := c.Receive(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}

func TestReceiveLosesNothingWhenItsContextEnds(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	server.Handle(Control, echo)
	ctx := within(t)
	c, err := client.Dial(ctx, server.ID(), server.Addr(), Control)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Receive(short); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := c.Send(ctx, &distribution.Leave{Keeps: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestWrongNetworkKeyIsExplained(t *testing.T) {
	server := start(t, NewNetworkKey(), nil)
	reached := make(chan struct{}, 8)
	server.Handle(Control, func(context.Context, distribution.Conn) { reached <- struct{}{} })
	for name, key := range map[string]NetworkKey{"another key": NewNetworkKey(), "no key": nil} {
		client := start(t, key, func(c *Config) { c.DialTimeout = 2 * time.Second })
		_, err := client.Dial(within(t), server.ID(), server.Addr(), Control)
		if err == nil || !strings.Contains(err.Error(), "network key differs") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(reached) != 0 {
		t.Error("an outsider reached the handler")
	}
	if conns := server.host.Network().Conns(); len(conns) != 0 {
		t.Errorf("an outsider has a connection: %v", conns)
	}
}

func TestWrongIdentityIsExplained(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	_, err := client.Dial(within(t), newIdentity(t).ID(), server.Addr(), Control)
	if !errors.Is(err, distribution.ErrMembership) || !strings.Contains(err.Error(), string(server.ID())) {
		t.Errorf("got %v", err)
	}
	// The failed try is no reason to wait with the right one.
	server.Handle(Control, echo)
	if _, err := client.Dial(within(t), server.ID(), server.Addr(), Control); err != nil {
		t.Error(err)
	}
}

func TestUnservedProtocolAndNobodyThere(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	if _, err := client.Dial(within(t), server.ID(), server.Addr(), Neighbour); err == nil || !strings.Contains(err.Error(), "does not speak") {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if _, err := client.Dial(within(t), newIdentity(t).ID(), addr, Control); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func TestListeningForAllNeedsANetworkKey(t *testing.T) {
	for _, listen := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		cfg := Default()
		cfg.Listen = listen
		_, err := New(cfg, newIdentity(t), nil, slog.New(slog.DiscardHandler), NewMetrics(nil))
		if err == nil || !strings.Contains(err.Error(), "supernode key new") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	n := start(t, NewNetworkKey(), func(c *Config) { c.Listen = ":0" })
	if n.Port() == 0 {
		t.Errorf("listens on %q", n.Addr())
	}
}

func TestBrokenProtocolClosesTheStream(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	ended := make(chan error, 1)
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) {
		_, err := c.Receive(ctx)
		ended <- err
	})
	for name, frame := range map[string]string{
		"oversize": "\xff\xff\xff\xff", "unknown type": "\x00\x00\x00\x02\xc8\xa0", "garbage": "\x00\x00\x00\x03\x01zz",
	} {
		c, err := client.Dial(within(t), server.ID(), server.Addr(), Control)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.(*Conn).stream.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, distribution.ErrMessage) {
			t.Errorf("%s: the server saw %v", name, err)
		}
		if _, err := c.Receive(within(t)); err == nil {
			t.Errorf("%s: the stream is still open", name)
		}
	}
}

func TestSlowReaderIsClosed(t *testing.T) {
	server := start(t, nil, nil)
	client := start(t, nil, func(c *Config) { c.QueueMessages = 8 })
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) { <-ctx.Done() })
	c, err := client.Dial(within(t), server.ID(), server.Addr(), Control)
	if err != nil {
		t.Fatal(err)
	}
	large := &distribution.Sealed{List: make([]byte, 1<<20), Key: make([]byte, 32), Signature: make([]byte, 64)}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	for err == nil {
		err = c.Send(ctx, large)
	}
	if !errors.Is(err, ErrSlow) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Receive(within(t)); !errors.Is(err, ErrSlow) {
		t.Errorf("the stream is not closed: %v", err)
	}
}

func TestStuckWriteIsClosed(t *testing.T) {
	server := start(t, nil, nil)
	client := start(t, nil, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) { <-ctx.Done() })
	c, err := client.Dial(within(t), server.ID(), server.Addr(), Control)
	if err != nil {
		t.Fatal(err)
	}
	large := &distribution.Sealed{List: make([]byte, 1<<20), Key: make([]byte, 32), Signature: make([]byte, 64)}
	for range 4 {
		if err := c.Send(within(t), large); err != nil {
			break
		}
	}
	if _, err := c.Receive(within(t)); !errors.Is(err, ErrSlow) {
		t.Errorf("got %v", err)
	}
}

// relay passes bytes on between clients and target until it is frozen.
func relay(t *testing.T, target string) (addr string, freeze func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	frozen, stop := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	pass := func(dst, src net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			select {
			case <-frozen:
				<-stop
				return
			default:
			}
			if err != nil {
				return
			}
			dst.Write(buf[:n])
		}
	}
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", target)
			if err != nil {
				a.Close()
				continue
			}
			wg.Go(func() { pass(a, b) })
			wg.Go(func() { pass(b, a) })
			go func() { <-stop; a.Close(); b.Close() }()
		}
	})
	t.Cleanup(func() { l.Close(); close(stop); wg.Wait() })
	return l.Addr().String(), sync.OnceFunc(func() { close(frozen) })
}

func TestVanishedMachineIsNoticed(t *testing.T) {
	quick := func(c *Config) { c.Keepalive = 300 * time.Millisecond }
	key := NewNetworkKey()
	server, client := start(t, key, quick), start(t, key, quick)
	ended := make(chan error, 1)
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) {
		for {
			m, err := c.Receive(ctx)
			if err != nil {
				ended <- err
				return
			}
			c.Send(ctx, m)
		}
	})
	addr, freeze := relay(t, server.Addr())
	c, err := client.Dial(within(t), server.ID(), addr, Control)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(within(t), &distribution.Leave{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(within(t)); err != nil {
		t.Fatal(err)
	}
	freeze()
	ctx := within(t)
	if _, err := c.Receive(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the client did not notice: %v", err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		t.Error("the server did not notice")
	}
}

func TestManyNodesAtOnce(t *testing.T) {
	key := NewNetworkKey()
	server := start(t, key, nil)
	server.Handle(Control, echo)
	ctx := within(t)
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 64 {
		client := start(t, key, func(c *Config) { c.Listen = "" })
		wg.Go(func() {
			c, err := client.Dial(ctx, server.ID(), server.Addr(), Control)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			for j := range 20 {
				want := &distribution.Opened{Object: sum(i), Size: int64(j)}
				if err := c.Send(ctx, want); err != nil {
					errs <- err
					return
				}
				got, err := c.Receive(ctx)
				if err != nil || !cmp.Equal(got, distribution.Message(want)) {
					errs <- fmt.Errorf("node %d: %v %w", i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	begun, over := make(chan struct{}), make(chan struct{})
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) {
		close(begun)
		c.Receive(ctx)
		close(over)
	})
	c, err := client.Dial(within(t), server.ID(), server.Addr(), Control)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(within(t), &distribution.Leave{}); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-over:
	default:
		t.Error("Close returned before the handler")
	}
	if _, err := c.Receive(within(t)); err == nil {
		t.Error("the other side did not notice")
	}
}

func TestCloseDoesNotWaitForAStuckReader(t *testing.T) {
	server, client := start(t, nil, nil), start(t, nil, nil)
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) { <-ctx.Done() })
	c, err := client.Dial(within(t), server.ID(), server.Addr(), Control)
	if err != nil {
		t.Fatal(err)
	}
	large := &distribution.Sealed{List: make([]byte, 1<<20), Key: make([]byte, 32), Signature: make([]byte, 64)}
	for range 3 {
		if err := c.Send(within(t), large); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if _, err := c.Receive(within(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
