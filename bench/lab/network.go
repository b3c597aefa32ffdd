//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
)

const (
	bridge    = "br0"
	hostLink  = "eth0"
	prefixLen = 24
)

// command runs ip or tc inside a namespace.
func (t *thread) command(ctx context.Context, line string) error {
	words := strings.Fields(line)
	return t.do(func() error {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, bytes.TrimSpace(stderr.Bytes()))
		}
		return nil
	})
}

// commands runs the lines in order and stops at the first that fails.
func (t *thread) commands(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if err := t.command(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// makeSwitch gives the lab's own namespace its bridge.
func makeSwitch(ctx context.Context) (*thread, error) {
	t, err := newThread()
	if err != nil {
		return nil, err
	}
	err = t.commands(ctx,
		"ip link add "+bridge+" type bridge stp_state 0 forward_delay 0",
		"ip link set "+bridge+" up")
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// plug connects a host to the switch. The pair is made inside the switch, with
// its other end inside the host, so neither is ever seen elsewhere.
func plug(ctx context.Context, sw *thread, h *Host) error {
	port := "sw" + h.name
	err := sw.commands(ctx,
		fmt.Sprintf("ip link add %s mtu 1500 type veth peer name %s mtu 1500 netns %s", port, hostLink, h.thread.path()),
		fmt.Sprintf("ip link set %s master %s up", port, bridge))
	if err != nil {
		return err
	}
	return h.thread.commands(ctx,
		"ip link set lo up",
		fmt.Sprintf("ip addr add %s dev %s", netip.PrefixFrom(h.addr, prefixLen), hostLink),
		fmt.Sprintf("ip link set %s up", hostLink),
		fmt.Sprintf("ip route add 224.0.0.0/4 dev %s", hostLink))
}

// shape sets the rate of both ends of a host's link.
func (c Config) shape(ctx context.Context, sw *thread, h *Host, rate Rate) error {
	if err := c.shapeEnd(ctx, sw, "sw"+h.name, rate); err != nil {
		return err
	}
	return c.shapeEnd(ctx, h.thread, hostLink, rate)
}

func (c Config) shapeEnd(ctx context.Context, t *thread, link string, rate Rate) error {
	if rate == 0 {
		return t.command(ctx, "tc qdisc replace dev "+link+" root noqueue")
	}
	return t.command(ctx, fmt.Sprintf("tc qdisc replace dev %s root tbf rate %dbit burst %db latency %dus",
		link, rate, c.Burst, c.Latency.Microseconds()))
}

// Counters are the bytes that a host's link has carried, headers included.
type Counters struct{ Received, Sent int64 }

// Sub is what was carried since an earlier reading.
func (c Counters) Sub(earlier Counters) Counters {
	return Counters{Received: c.Received - earlier.Received, Sent: c.Sent - earlier.Sent}
}

// parseCounters finds a link in the text of /proc/net/dev.
func parseCounters(table, link string) (Counters, error) {
	for line := range strings.Lines(table) {
		name, rest, found := strings.Cut(strings.TrimSpace(line), ":")
		fields := strings.Fields(rest)
		if !found || name != link || len(fields) < 9 {
			continue
		}
		received, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return Counters{}, fmt.Errorf("counters of %s: %w", link, err)
		}
		sent, err := strconv.ParseInt(fields[8], 10, 64)
		if err != nil {
			return Counters{}, fmt.Errorf("counters of %s: %w", link, err)
		}
		return Counters{Received: received, Sent: sent}, nil
	}
	return Counters{}, fmt.Errorf("counters of %s: no such link", link)
}
