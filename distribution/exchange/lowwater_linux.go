package exchange

import (
	"net"

	"golang.org/x/sys/unix"
)

// setLowWater lets reads of a socket wait for so many bytes (SO_RCVLOWAT,
// socket(7)); the end of the stream and errors wake them all the same.
func setLowWater(c *net.TCPConn, n int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) }); err != nil {
		return err
	}
	return failed
}
