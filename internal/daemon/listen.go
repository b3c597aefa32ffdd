package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Bindable is the address to listen on when address was configured. Without a
// network key only loopback is open: an address without a host is narrowed to
// 127.0.0.1 (narrowed is true then), and any other is refused.
func Bindable(address string, haveKey bool) (bind string, narrowed bool, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false, fmt.Errorf("listen address %q: write host:port", address)
	}
	if haveKey || IsLoopback(host) {
		return address, false, nil
	}
	if host != "" {
		return "", false, fmt.Errorf("listening on %s would let anybody in: set network_key (`supernode key new` makes one), or listen on 127.0.0.1", address)
	}
	return net.JoinHostPort("127.0.0.1", port), true, nil
}

// IsLoopback tells a host that only this machine reaches.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ListenUnix listens on a Unix socket that only this user may open. What a
// killed process left at path is replaced; a socket that somebody listens on,
// and anything that is no socket, are not. Closing the listener removes it.
func ListenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the socket %s: %w; run as root, or set admin.socket", path, err)
	}
	if err := checkStale(path); err != nil {
		return nil, err
	}
	// Bound under a name of its own first: the socket must never be open to
	// others, not even between bind and chmod.
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on the socket %s: %w; run as root, or set admin.socket", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(fresh))
	}
	return &removing{Listener: l, path: path}, nil
}

func checkStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket; remove it, or set admin.socket to another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil // nobody answers
	}
	return errors.Join(fmt.Errorf("another daemon listens on %s; stop it, or set admin.socket to another path", path), conn.Close())
}

// removing is a listener whose socket file goes with it.
type removing struct {
	net.Listener
	path string
}

func (r *removing) Close() error {
	err := r.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	if gone := os.Remove(r.path); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
