//go:build linux

package holder

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The orders.
const (
	doPut  = "put"
	doGet  = "get"
	doDrop = "drop"
)

type order struct {
	Do string `json:"do"`
	// Patience is how long the descriptor is kept without a daemon; 0 is for ever.
	Patience time.Duration `json:"patience,omitempty"`
}

type answer struct {
	Error string `json:"error,omitempty"`
	// Away is for how long there was no daemon.
	Away time.Duration `json:"away,omitempty"`
}

// permitted refuses other users.
func permitted(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if int(who.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not have this", who.Uid)
	}
	return nil
}
