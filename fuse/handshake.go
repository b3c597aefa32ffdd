//go:build linux

package fuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// maxInit bounds the kernel's first request and its answer; both have about 100
// bytes, and grow slowly with the protocol.
const maxInit = 8 << 10

// handshake has a server answer the kernel's first request, which the kernel sends
// once in the life of a connection: the request is given to the server over a pair
// of sockets, so that it may be the kernel's own or one that was kept. The server's
// descriptor, which it owns, is still a socket then; connect puts the connection
// in its place. A server that is not connected is left to the garbage collector.
func handshake(fs gofuse.RawFileSystem, options *gofuse.MountOptions, first []byte) (s *served, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a pair of sockets: %w", err)
	}
	defer unix.Close(pair[0])
	if _, err := unix.Write(pair[0], first); err != nil {
		return nil, errors.Join(err, unix.Close(pair[1]))
	}
	// The server closes its descriptor also when it fails after it read the request.
	server, err := gofuse.NewServer(fs, fmt.Sprintf("/dev/fd/%d", pair[1]), options)
	if err != nil {
		return nil, fmt.Errorf("answer the kernel's first request: %w", err)
	}
	s = &served{Server: server, fd: pair[1]}
	s.reply = make([]byte, maxInit)
	n, err := unix.Read(pair[0], s.reply)
	if err != nil {
		return nil, fmt.Errorf("taking the answer to the kernel's first request: %w", err)
	}
	s.reply = s.reply[:n]
	return s, nil
}

// served is a server that has answered the first request.
type served struct {
	*gofuse.Server
	fd    int
	reply []byte
}

// connect gives the server the kernel's connection.
func (s *served) connect(device *os.File) error {
	if err := unix.Dup3(int(device.Fd()), s.fd, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("duplicate the connection: %w", err)
	}
	return nil
}

// firstRequest reads the kernel's first request, which is there as soon as the
// connection is mounted.
func firstRequest(device *os.File) ([]byte, error) {
	b := make([]byte, 64<<10) // the kernel refuses less than 8 KiB
	n, err := unix.Read(int(device.Fd()), b)
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's first request: %w", err)
	}
	if err := checkInit(b[:n]); err != nil {
		return nil, err
	}
	return b[:n:n], nil
}

// The kernel's first request: a header of 40 bytes, then major, minor, read-ahead
// and flags of four bytes each, and since version 7.36 the upper half of the flags.
const (
	opInit      = 26
	headerSize  = 40
	offOpcode   = 4
	offFlags    = headerSize + 12
	offFlags2   = headerSize + 16
	initSize    = headerSize + 16
	notifySize  = 16 // of a notification without data
	notifyAgain = 7  // FUSE_NOTIFY_RESEND
)

func checkInit(b []byte) error {
	if len(b) < initSize || len(b) > maxInit || binary.NativeEndian.Uint32(b) != uint32(len(b)) ||
		binary.NativeEndian.Uint32(b[offOpcode:]) != opInit {
		return fmt.Errorf("%d bytes are not the kernel's first request", len(b))
	}
	return nil
}

// resends tells whether a kernel with this first request can be asked for the
// requests that nobody answered (Linux 6.9).
func resends(first []byte) bool {
	if len(first) < offFlags2+4 {
		return false
	}
	flags := uint64(binary.NativeEndian.Uint32(first[offFlags:])) | uint64(binary.NativeEndian.Uint32(first[offFlags2:]))<<32
	return flags&gofuse.CAP_HAS_RESEND != 0
}

// askAgain has the kernel send all requests again that were read and not answered,
// with resent set in their numbers. Nothing may be reading meanwhile.
func askAgain(device *os.File) error {
	message := make([]byte, notifySize)
	binary.NativeEndian.PutUint32(message, notifySize)
	binary.NativeEndian.PutUint32(message[4:], notifyAgain)
	if _, err := unix.Write(int(device.Fd()), message); err != nil {
		return fmt.Errorf("asking the kernel for requests that wait: %w", err)
	}
	return nil
}

// resent is set in the number of a request that the kernel sends another time.
const resent = 1 << 63
