//go:build linux

package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/passfd"
)

// unused is how long a holder that was given nothing stays.
const unused = 30 * time.Second

// Main is the holder's process: it returns when it has nothing to hold any more.
// path is where the socket is; rest is called whenever there is nothing to do, which
// may be so for weeks.
func Main(path string, rest func()) error {
	file := os.NewFile(passfd.SocketFD, "socket")
	l, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("holding the file system: %w; `lazyfs serve` starts this by itself", err)
	}
	file.Close()
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return errors.Join(errors.New("holding the file system: descriptor 3 is no Unix socket"), l.Close())
	}
	return hold(listener, path, unused, rest)
}

// request is an order as it came.
type request struct {
	from *net.UnixConn
	order
	file *os.File // beside a put
	gone bool     // there is no order: the connection ended
}

// keeper is the holder's state; hold alone touches it.
type keeper struct {
	device   *os.File
	daemon   *net.UnixConn // of who serves; nil if nobody does
	patience time.Duration
	lost     time.Time   // when the daemon went
	timer    *time.Timer // ends the holder
	dropped  bool
	socket   os.FileInfo
}

// hold keeps what it is given until it is told to drop it, or until nobody has
// served for as long as the daemon said, or patience if none did.
func hold(l *net.UnixListener, path string, patience time.Duration, rest func()) error {
	requests := make(chan request)
	ended := make(chan struct{})
	defer close(ended)
	go accept(l, requests, ended)
	k := &keeper{timer: time.NewTimer(patience)}
	k.socket, _ = os.Lstat(path) // if it is gone already, it is not ours to remove
	defer k.end(l, path)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !k.dropped {
		select {
		case <-k.timer.C:
			return nil
		case <-look.C:
			if k.daemon == nil && k.device != nil && isDead(k.device) {
				return nil
			}
		case r := <-requests:
			k.handle(r)
			rest()
		}
	}
	return nil
}

// lookEvery is how often a holder without a daemon looks whether the mounts are
// gone: somebody may have unmounted them by hand.
const lookEvery = 5 * time.Second

// isDead tells whether the kernel gave a connection up.
func isDead(device *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(device.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
}

// end takes the socket from sight before the last descriptor is closed, so that
// nobody comes for it in vain.
func (k *keeper) end(l *net.UnixListener, path string) {
	if now, err := os.Lstat(path); err == nil && k.socket != nil && os.SameFile(now, k.socket) {
		os.Remove(path)
	}
	l.Close()
	if k.device != nil {
		k.device.Close()
	}
	if k.daemon != nil {
		k.daemon.Close()
	}
}

func accept(l *net.UnixListener, requests chan<- request, ended <-chan struct{}) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return // closed; or out of descriptors, upon which the process is of no use
		}
		go listen(c, requests, ended)
	}
}

// listen passes on what comes over a connection.
func listen(c *net.UnixConn, requests chan<- request, ended <-chan struct{}) {
	if permitted(c) != nil {
		c.Close()
		return
	}
	for {
		r := request{from: c}
		file, err := passfd.Receive(c, &r.order)
		r.file, r.gone = file, err != nil
		select {
		case requests <- r:
		case <-ended:
			return
		}
		if r.gone {
			return
		}
	}
}

func (k *keeper) handle(r request) {
	if r.gone {
		k.left(r.from)
		return
	}
	var file *os.File
	var a answer
	switch r.Do {
	case doPut:
		if r.file == nil {
			a.Error = "no descriptor came"
			break
		}
		if k.device != nil {
			k.device.Close()
		}
		k.device, r.file = r.file, nil
		k.serves(r)
	case doGet:
		if file = k.device; file == nil {
			a.Error = "nothing is held"
			break
		}
		if !k.lost.IsZero() {
			a.Away = time.Since(k.lost)
		}
		k.serves(r)
	case doDrop:
		k.dropped = true
	default:
		a.Error = fmt.Sprintf("%.20q is no order of this version", r.Do)
	}
	if r.file != nil {
		r.file.Close()
	}
	if passfd.Send(r.from, a, file) != nil {
		k.left(r.from)
	}
}

// serves notes who serves from now on. Who did so before has ended, or is about to.
func (k *keeper) serves(r request) {
	k.daemon, k.patience, k.lost = r.from, r.Patience, time.Time{}
	k.timer.Stop()
}

// left notes the end of a connection. If it was the daemon's, patience begins.
func (k *keeper) left(c *net.UnixConn) {
	c.Close()
	if c != k.daemon {
		return
	}
	k.daemon, k.lost = nil, time.Now()
	if k.patience > 0 {
		k.timer.Reset(k.patience)
	}
}
