package origin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

const dialTimeout = 10 * time.Second

// dialer decides, on the very address that is about to be dialled, whether it
// may be. It is the same for a registry, its redirects and its token server.
type dialer struct {
	// own are the host:port names that the configuration itself points to.
	own []string
	// lenient lets redirects go to private and loopback addresses, though not
	// to link-local ones, where clouds keep their metadata services.
	lenient bool
	allow   []allowed
	timeout time.Duration
}

// privateError says that an address was refused by the rule about private ones.
type privateError struct {
	host string
	ip   netip.Addr
}

func (e *privateError) Error() string {
	return fmt.Sprintf("%s is at %s, which is not a public address", e.host, e.ip)
}

// DialContext is http.Transport's.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	nd := net.Dialer{Timeout: min(d.timeout, dialTimeout), KeepAlive: 30 * time.Second}
	if !d.named(addr) {
		nd.Control = func(_, address string, _ syscall.RawConn) error { return d.check(addr, address) }
	}
	return nd.DialContext(ctx, network, addr)
}

// named tells whether the configuration names the host, which lifts the rule.
func (d *dialer) named(addr string) bool {
	addr = strings.ToLower(addr)
	if slices.Contains(d.own, addr) {
		return true
	}
	host, port, err := net.SplitHostPort(addr)
	return err == nil && slices.ContainsFunc(d.allow, func(a allowed) bool {
		return a.host != "" && a.host == host && (a.port == "" || a.port == port)
	})
}

func (d *dialer) check(addr, resolved string) error {
	ap, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return fmt.Errorf("dial %s: %w", addr, err)
	}
	ip := ap.Addr().Unmap().WithZone("")
	if !restricted(ip) || d.lenient && (ip.IsPrivate() || ip.IsLoopback()) {
		return nil
	}
	for _, a := range d.allow {
		if a.net.IsValid() && a.net.Contains(ip) {
			return nil
		}
	}
	return &privateError{host: addr, ip: ip}
}

// restricted tells every address that is not a host on the public internet. The
// translated forms (NAT64, 6to4, Teredo) are among them, because they may carry
// a private address inside.
func restricted(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return true
	}
	for _, s := range [...]string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10", "::/96",
	} {
		if netip.MustParsePrefix(s).Contains(ip) {
			return true
		}
	}
	return false
}
