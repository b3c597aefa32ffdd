//go:build !linux

package exchange

import (
	"errors"
	"net"
)

// setLowWater is Linux's only.
func setLowWater(*net.TCPConn, int) error { return errors.ErrUnsupported }
