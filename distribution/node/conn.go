package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shoal-project/shoal/distribution"
)

const (
	readBuffer  = 4 << 10
	keepBuffer  = 64 << 10 // larger buffers are not kept for the next message
	writePiece  = 256 << 10
	flushOnStop = time.Second // how long Close lets the last messages go out
)

// Conn is a stream of messages to one node. It owns two goroutines, which end
// with it; Close waits for both.
type Conn struct {
	stream  network.Stream
	remote  distribution.NodeID
	host    string
	codec   *codec
	queue   *queue
	timeout time.Duration
	m       *Metrics

	in   chan distribution.Message
	dead chan struct{} // closed when err is set
	once sync.Once
	err  error
	done func() // tells the owner
	wg   sync.WaitGroup
}

var _ distribution.Conn = (*Conn)(nil)

func newConn(s network.Stream, n *Node) *Conn {
	host, _ := hostPort(s.Conn().RemoteMultiaddr())
	c := &Conn{
		stream: s, remote: distribution.NodeID(s.Conn().RemotePeer().String()), host: host,
		codec: n.codec, timeout: n.cfg.WriteTimeout, m: n.m,
		queue: newQueue(n.cfg.QueueMessages, n.cfg.QueueBytes),
		in:    make(chan distribution.Message), dead: make(chan struct{}),
	}
	streams := n.m.conns.WithLabelValues(string(s.Protocol()))
	streams.Inc()
	c.done = sync.OnceFunc(func() { streams.Dec(); n.forget(c) })
	c.wg.Go(c.write)
	c.wg.Go(c.read)
	return c
}

// Remote is the other node's proved name.
func (c *Conn) Remote() distribution.NodeID { return c.remote }

// RemoteHost is the other node's address as this one sees it, without a port.
func (c *Conn) RemoteHost() string { return c.host }

// Send queues a message. While the queue is full it waits; if ctx ends before
// there is room, the stream is closed with [ErrSlow].
func (c *Conn) Send(ctx context.Context, m distribution.Message) error {
	frame, err := c.codec.frame(m)
	if err != nil {
		return err
	}
	if err := c.queue.put(ctx, frame); err != nil {
		if errors.Is(err, ErrSlow) {
			c.fail(err, "slow")
		}
		return fmt.Errorf("sending to node %s: %w", c.remote, err)
	}
	return nil
}

// Receive gives the next message, checked. The error that ends a stream wraps
// io.EOF if the other side closed it, distribution.ErrMessage if that broke the
// protocol. When ctx ends nothing is lost.
func (c *Conn) Receive(ctx context.Context) (distribution.Message, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.dead:
		return nil, fmt.Errorf("receiving from node %s: %w", c.remote, c.err)
	}
}

// Close lets queued messages go out, for a second at most, and ends the stream.
func (c *Conn) Close() error {
	c.queue.close(ErrClosed, true)
	timer := time.AfterFunc(flushOnStop, func() { c.fail(ErrClosed, "abandoned") })
	defer timer.Stop()
	c.wg.Wait()
	return nil
}

// fail ends the stream at once, for the first reason given.
func (c *Conn) fail(err error, reason string) {
	c.once.Do(func() {
		c.err = err
		close(c.dead)
		c.queue.close(err, false)
		c.m.closed.WithLabelValues(reason).Inc()
		if reason == "closed" || reason == "ended" {
			c.stream.Close()
		} else {
			c.stream.Reset()
		}
		c.done()
	})
}

func (c *Conn) write() {
	var spare []byte
	sent, bytes := c.m.messages.WithLabelValues("sent"), c.m.bytes.WithLabelValues("sent")
	for {
		buf, n, err := c.queue.take(spare)
		if err != nil {
			c.fail(err, "closed")
			return
		}
		if err := c.writeAll(buf); err != nil {
			c.failWith(err)
			return
		}
		sent.Add(float64(n))
		bytes.Add(float64(len(buf)))
		if spare = buf; cap(spare) > keepBuffer {
			spare = nil
		}
	}
}

// writeAll gives each piece the full time: what counts is progress.
func (c *Conn) writeAll(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), writePiece)
		if err := c.stream.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return err
		}
		if _, err := c.stream.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *Conn) read() {
	r := bufio.NewReaderSize(c.stream, readBuffer)
	got, bytes := c.m.messages.WithLabelValues("received"), c.m.bytes.WithLabelValues("received")
	var buf []byte
	for {
		var err error
		if buf, err = readFrame(r, buf); err != nil {
			c.failWith(err)
			return
		}
		m, err := c.codec.parse(buf)
		if err != nil {
			c.failWith(err)
			return
		}
		got.Inc()
		bytes.Add(float64(lengthSize + len(buf)))
		if cap(buf) > keepBuffer {
			buf = nil
		}
		select {
		case c.in <- m:
		case <-c.dead:
			return
		}
	}
}

// failWith sorts what reading or writing met.
func (c *Conn) failWith(err error) {
	switch {
	case errors.Is(err, distribution.ErrMessage):
		c.fail(err, "protocol")
	case err == io.EOF:
		c.fail(fmt.Errorf("the other node closed the stream: %w", err), "ended")
	case timedOut(err):
		c.fail(fmt.Errorf("%w: no progress in %s", ErrSlow, c.timeout), "slow")
	default:
		c.fail(fmt.Errorf("connection lost: %w", err), "lost")
	}
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
