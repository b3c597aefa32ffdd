//go:build linux

// Package passfd starts processes of this program that work for it, and exchanges JSON
// datagrams with them over Unix sockets of type SOCK_SEQPACKET, with an open file
// beside a message where it has one to give.
//
// It bounds what it reads, and closes what comes unasked for. It knows nothing of
// what the messages mean.
package passfd

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SocketFD is where a process that [Spawn] started finds its socket.
const SocketFD = 3

// Spawn starts a process with nothing open but a socket. The end of this one's session,
// terminal or directory does not concern it. args begin with its name.
func Spawn(socket *os.File, program string, args []string) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess(program, args, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []*os.File{null, null, null, socket},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// MaxMessage bounds a datagram.
const MaxMessage = 4 << 10

// Send writes a message, with a file beside it unless that is nil.
func Send(c *net.UnixConn, message any, file *os.File) error {
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

// Receive reads a message, and the file beside it if there is one, which is the
// caller's to close. The end of the connection is [net.ErrClosed].
func Receive(c *net.UnixConn, message any) (*os.File, error) {
	text, rights := make([]byte, MaxMessage), make([]byte, unix.CmsgSpace(4*4))
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
		file = nil
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
			files = append(files, os.NewFile(uintptr(fd), "passed"))
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
