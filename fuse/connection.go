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
	mu      sync.RWMutex
	session Session
	server  *gofuse.Server
	device  *os.File // a descriptor of our own, besides the server's
	served  chan struct{}
}

func (c *connection) set(s Session, server *gofuse.Server, device *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.server, c.device, c.served = s, server, device, make(chan struct{})
}

// abort makes the kernel give the connection up. If it has done so already, that
// is no failure.
func (c *connection) abort() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.device == nil {
		return nil
	}
	if err := abortConnection(c.session.Device); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// ended closes what set was given, when the server has returned.
func (c *connection) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device.Close()
	c.session, c.server, c.device = Session{}, nil, nil
	close(c.served)
}

func (c *connection) current() (server *gofuse.Server, dir string, served <-chan struct{}) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.server, c.session.Dir, c.served
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
		server.EntryNotify(root, removed+objectsSuffix)
	}
	server.InodeNotify(root, 0, 0)
}

// register makes the kernel keep an open file to read from; 0 if it refuses.
func (c *connection) register(file *os.File) int32 {
	server, _, _ := c.current()
	if server == nil {
		return 0
	}
	id, errno := server.RegisterBackingFd(&gofuse.BackingMap{Fd: int32(file.Fd())})
	if errno != 0 {
		return 0
	}
	return max(id, 0)
}

func (c *connection) unregister(id int32) error {
	server, _, _ := c.current()
	if server == nil {
		return nil
	}
	if errno := server.UnregisterBackingFd(id); errno != 0 {
		return errno
	}
	return nil
}

// dead tells whether the kernel gave the connection up, so that nobody waits for
// any answer.
func (c *connection) dead() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.device == nil {
		return false
	}
	return isDead(c.device)
}
