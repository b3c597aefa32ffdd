//go:build linux

package mounter

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/passfd"
	"github.com/shoal-project/shoal/layer/erofs"
)

// patience bounds a mount. Nothing in it waits for a network.
const patience = 30 * time.Second

// Order is one mount.
type Order struct {
	Tree string `json:"tree"` // the file of the image's tree
	// Objects is the directory of its objects, and Devices how many there are: files
	// that are named by their numbers in the device table.
	Objects string `json:"objects"`
	Devices int    `json:"devices"`
	// ReadAhead is how far the kernel reads ahead of a sequential reader, in bytes.
	ReadAhead int64 `json:"read_ahead"`
}

type answer struct {
	Error string `json:"error,omitempty"`
}

// Mounter mounts.
type Mounter struct {
	program []string

	mu     sync.Mutex    // held during a mount
	conn   *net.UnixConn // nil while no process runs
	closed bool
}

// New makes a mounter. program runs [Main], with its arguments, the first of which is
// the process's name.
func New(program ...string) *Mounter { return &Mounter{program: program} }

// Start starts the process, so that the first mount need not wait for it. Mount does
// so if need be.
func (m *Mounter) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready()
}

// Mount mounts, and gives a descriptor of the mount, which nobody sees yet.
func (m *Mounter) Mount(o Order) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(); err != nil {
		return nil, err
	}
	var a answer
	mount, err := m.ask(o, &a)
	switch {
	case err != nil:
		m.stop()
		return nil, fmt.Errorf("asking the process that mounts: %w", err)
	case a.Error != "":
		return nil, errors.New(a.Error)
	case mount == nil:
		return nil, errors.New("the process that mounts gave no mount")
	}
	return mount, nil
}

func (m *Mounter) ask(o Order, a *answer) (*os.File, error) {
	if err := m.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := passfd.Send(m.conn, o, nil); err != nil {
		return nil, err
	}
	return passfd.Receive(m.conn, a)
}

// Close ends the process.
func (m *Mounter) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.stop()
}

// ready starts the process unless it runs. m.mu is held.
func (m *Mounter) ready() error {
	if m.closed {
		return net.ErrClosed
	}
	if m.conn != nil {
		return nil
	}
	conn, err := start(m.program)
	if err != nil {
		return fmt.Errorf("starting the process that mounts: %w", err)
	}
	m.conn = conn
	return nil
}

// stop ends the process. m.mu is held.
func (m *Mounter) stop() {
	if m.conn != nil {
		m.conn.Close()
		m.conn = nil
	}
}

func start(program []string) (*net.UnixConn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "mounter"), os.NewFile(uintptr(pair[1]), "mounter")
	defer ours.Close()
	defer theirs.Close()
	process, err := passfd.Spawn(theirs, program[0], program[1:])
	if err != nil {
		return nil, err
	}
	go func() { _, _ = process.Wait() }() // it ends with the connection; nobody asks how
	return connection(ours)
}

func connection(file *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("descriptor 3 is no Unix socket")
	}
	return conn, nil
}

// Main is the process: it mounts what it is told to, until the connection ends.
// rest is called whenever there is nothing to do.
func Main(rest func()) error {
	file := os.NewFile(passfd.SocketFD, "socket")
	conn, err := connection(file)
	if err != nil {
		return fmt.Errorf("mounting for a daemon: %w; `lazyfs serve` starts this by itself", err)
	}
	file.Close()
	defer conn.Close()
	for {
		rest()
		var o Order
		if unwanted, err := passfd.Receive(conn, &o); err != nil {
			return nil // the daemon ended, or wants no more
		} else if unwanted != nil {
			unwanted.Close()
		}
		mount, a := do(o)
		err := passfd.Send(conn, a, mount)
		if mount != nil {
			mount.Close()
		}
		if err != nil {
			return nil
		}
	}
}

// short keeps an error within a message.
func short(text string) string { return text[:min(len(text), passfd.MaxMessage/8)] }

func do(o Order) (*os.File, answer) {
	// A listing brings the attributes of many objects at once, which the kernel would
	// ask for one by one.
	if _, err := os.ReadDir(o.Objects); err != nil {
		return nil, answer{short(err.Error())}
	}
	devices := make([]string, o.Devices)
	for i := range devices {
		devices[i] = filepath.Join(o.Objects, strconv.Itoa(i))
	}
	mount, err := erofs.Detached(o.Tree, devices, o.ReadAhead)
	if err != nil {
		return nil, answer{short(err.Error())}
	}
	return mount, answer{}
}
