//go:build linux

package fuse

import (
	"errors"
	"os"
	"sync"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// connection is the kernel's end, once it is mounted. Its methods do nothing
// before and after that.
type connection struct {
	mu     sync.RWMutex
	dir    string
	init   []byte // the kernel's first request
	server *gofuse.Server
	number string   // of the mount's device, once it is known
	device *os.File // a descriptor of our own, besides the server's
	served chan struct{}
}

func (c *connection) set(dir string, server *gofuse.Server, device *os.File, init []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dir, c.server, c.device, c.init, c.served = dir, server, device, init, make(chan struct{})
}

func (c *connection) known(number string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number = number
}

// abort makes the kernel give the connection up. If it has done so already, that
// is no failure.
func (c *connection) abort() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.device == nil {
		return nil
	}
	if err := abortConnection(c.number); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// ended closes what set was given, when the server has returned.
func (c *connection) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device.Close()
	c.dir, c.number, c.server, c.device = "", "", nil, nil
	close(c.served)
}

func (c *connection) current() (server *gofuse.Server, dir string, served <-chan struct{}) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.server, c.dir, c.served
}

// rootChanged drops what the kernel knows of the directory of images, and of an
// image in it that went. No lock may be held: the kernel waits for requests under
// way, and those may want it.
func (c *connection) rootChanged(removed string) {
	server, _, _ := c.current()
	if server == nil {
		return
	}
	// ENOENT tells that the kernel knew nothing; other failures mean that the
	// connection has ended.
	if removed != "" {
		server.EntryNotify(root, removed)
	}
	server.InodeNotify(root, 0, 0)
}

// register makes the kernel keep an open file to read from.
func (c *connection) register(file *os.File) (id int32, ok bool) {
	server, _, _ := c.current()
	if server == nil {
		return 0, false
	}
	id, errno := server.RegisterBackingFd(&gofuse.BackingMap{Fd: int32(file.Fd())})
	return id, errno == 0 && id > 0
}

func (c *connection) unregister(id int32) {
	if server, _, _ := c.current(); server != nil {
		_ = server.UnregisterBackingFd(id) // fails only if the connection has ended, and the id with it
	}
}

// dead tells whether the kernel gave the connection up, so that nobody waits for
// any answer.
func (c *connection) dead() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.device == nil {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(c.device.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
}
