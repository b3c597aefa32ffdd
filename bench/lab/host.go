//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Host is one machine of the lab, as far as the network can tell.
type Host struct {
	lab    *Lab
	name   string
	addr   netip.Addr
	dir    string
	thread *thread
}

// Name is the host's name in [Config.Hosts].
func (h *Host) Name() string { return h.name }

// Addr is the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// At is the host's address with a port.
func (h *Host) At(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.addr, port) }

// Dir is the host's directory, on the lab's tmpfs.
func (h *Host) Dir() string { return h.dir }

// Do runs fn on a thread inside the host's network namespace and waits for it.
// What fn opens itself is in that namespace; what other goroutines that it
// starts open is not. Other work in the host waits meanwhile, so fn is short.
func (h *Host) Do(fn func() error) error { return h.thread.do(fn) }

// Listen opens a TCP listener in the host, for this process to serve.
func (h *Host) Listen(addr netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	err := h.thread.do(func() (err error) {
		listener, err = net.Listen("tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	return listener, nil
}

// DialContext opens a connection from the host. The address is numeric: a
// single address is dialled on the calling thread, a name might not be.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("%s: dialling %q: want a numeric address and port: %w", h.name, address, err)
	}
	var conn net.Conn
	err := h.thread.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	return conn, nil
}

// Counters reads what the host's link has carried.
func (h *Host) Counters() (Counters, error) {
	var table []byte
	err := h.thread.do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return Counters{}, fmt.Errorf("%s: reading counters: %w", h.name, err)
	}
	counters, err := parseCounters(string(table), hostLink)
	if err != nil {
		return Counters{}, fmt.Errorf("%s: %w", h.name, err)
	}
	return counters, nil
}

// SetRate changes the rate of the host's link in both directions.
func (h *Host) SetRate(ctx context.Context, rate Rate) error {
	if rate < 0 {
		return fmt.Errorf("%s: rate %d is negative", h.name, rate)
	}
	if err := h.lab.config.shape(ctx, h.lab.sw, h, rate); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	return nil
}

// Cut takes the host off the network, or puts it back: its link goes down, and
// packets are lost with no answer, as when a cable is pulled.
func (h *Host) Cut(ctx context.Context, cut bool) error {
	state := "up"
	if cut {
		state = "down"
	}
	if err := h.lab.sw.command(ctx, fmt.Sprintf("ip link set sw%s %s", h.name, state)); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	return nil
}

// Enter is a command that gives a shell in the host, while this process lives.
func (h *Host) Enter() string { return "nsenter --net=" + h.thread.path() }
