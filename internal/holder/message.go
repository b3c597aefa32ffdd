//go:build linux

package holder

import (
	"encoding/json"
	"errors"
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

// maxMessage bounds a datagram.
const maxMessage = 4 << 10

// send writes a message, with a file beside it unless that is nil.
func send(c *net.UnixConn, message any, file *os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	_, _, err = c.WriteMsgUnix(text, rights, nil)
	return err
}

// receive reads a message, and the file beside it if there is one.
func receive(c *net.UnixConn, message any) (*os.File, error) {
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*4))
	n, m, _, _, err := c.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, err
	}
	file, err := fileIn(rights[:m])
	if err == nil && n == 0 {
		err = net.ErrClosed
	}
	if err == nil {
		err = json.Unmarshal(text[:n], message)
	}
	if err != nil && file != nil {
		file.Close()
	}
	return file, err
}

// fileIn takes one descriptor, and closes all if there are more.
func fileIn(rights []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // something else
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "/dev/fuse"))
		}
	}
	switch len(files) {
	case 0:
		return nil, nil
	case 1:
		return files[0], nil
	}
	for _, f := range files {
		f.Close()
	}
	return nil, errors.New("more than one descriptor came")
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
