//go:build linux

package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/shoal-project/shoal/internal/passfd"
)

// Holder is the daemon's end.
type Holder struct {
	conn    *net.UnixConn
	process *os.Process // nil if this process did not start it
}

const network = "unixpacket"

// Start begins a holder at a socket, whose directory others must not be able to
// look into. program, started with args, of which the first is its name, runs [Main].
func Start(path, program string, args ...string) (*Holder, error) {
	h, err := start(path, program, args)
	if err != nil {
		return nil, fmt.Errorf("starting the holder of the file system: %w", err)
	}
	return h, nil
}

func start(path, program string, args []string) (*Holder, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	socket, err := l.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	process, err := passfd.Spawn(socket, program, args)
	if err != nil {
		return nil, err
	}
	h, err := dial(path)
	if err != nil {
		err = errors.Join(err, process.Kill())
		_, gone := process.Wait()
		return nil, errors.Join(err, gone)
	}
	h.process = process
	return h, nil
}

// Dial reaches the holder that an earlier process started.
func Dial(path string) (*Holder, error) {
	h, err := dial(path)
	if err != nil {
		return nil, fmt.Errorf("reaching the holder of the file system: %w", err)
	}
	return h, nil
}

func dial(path string) (*Holder, error) {
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, err
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may look into %s; it must have mode 0700", filepath.Dir(path))
	}
	conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, err
	}
	return &Holder{conn: conn}, nil
}

// answerTime bounds an exchange; the holder does nothing that takes time.
const answerTime = 10 * time.Second

func (h *Holder) ask(o order, file *os.File) (*os.File, answer, error) {
	var a answer
	if err := h.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, a, err
	}
	if err := passfd.Send(h.conn, o, file); err != nil {
		return nil, a, err
	}
	got, err := passfd.Receive(h.conn, &a)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return got, a, errors.Join(err, h.conn.SetDeadline(time.Time{}))
}

// Put has a copy of the descriptor kept, for as long as patience says after this
// process has ended; 0 is for ever.
func (h *Holder) Put(device *os.File, patience time.Duration) error {
	if _, _, err := h.ask(order{doPut, patience}, device); err != nil {
		return fmt.Errorf("giving the file system to its holder: %w", err)
	}
	return nil
}

// Get gives a copy of what is kept, and tells for how long nobody served.
func (h *Holder) Get(patience time.Duration) (device *os.File, away time.Duration, err error) {
	device, a, err := h.ask(order{doGet, patience}, nil)
	if err == nil && device == nil {
		err = errors.New("no descriptor came")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("taking the file system from its holder: %w", err)
	}
	return device, a.Away, nil
}

// Drop ends the holder.
func (h *Holder) Drop() error {
	if _, _, err := h.ask(order{Do: doDrop}, nil); err != nil {
		return fmt.Errorf("ending the holder of the file system: %w", err)
	}
	return nil
}

// Wait returns when the holder has ended, or after Close. Nothing but Close may be
// called meanwhile.
func (h *Holder) Wait() {
	var nothing answer
	for {
		file, err := passfd.Receive(h.conn, &nothing)
		if file != nil {
			file.Close()
		}
		if err != nil {
			break
		}
	}
}

// Reap waits for the process of a holder that has ended.
func (h *Holder) Reap() {
	if h.process != nil {
		_, _ = h.process.Wait() // nobody asks how it ended
	}
}

// Close lets go of the holder, which goes on.
func (h *Holder) Close() error {
	if h.process != nil {
		_ = h.process.Release()
	}
	return h.conn.Close()
}
