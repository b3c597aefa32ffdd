package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrEnded says that the daemon went away in the middle of its answer.
var ErrEnded = errors.New("the daemon ended before this was done; start it again and repeat: what arrived is kept")

// Refusal is an answer of a daemon that does not do what it was asked.
type Refusal struct {
	Status int    // of HTTP
	Words  string // the daemon's own
}

// Error are the daemon's words alone: they are written for whoever asked.
func (r *Refusal) Error() string { return r.Words }

// Unreachable says that no daemon could be asked.
type Unreachable struct {
	Socket string
	Err    error
}

func (u *Unreachable) Error() string {
	switch {
	case errors.Is(u.Err, fs.ErrNotExist), errors.Is(u.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no daemon listens on %s; start it with `serve`, or name its socket with --socket", u.Socket)
	case errors.Is(u.Err, fs.ErrPermission):
		return fmt.Sprintf("the socket %s may not be opened: run this as the user of the daemon", u.Socket)
	}
	return fmt.Sprintf("asking the daemon at %s: %v", u.Socket, u.Err)
}

func (u *Unreachable) Unwrap() error { return u.Err }
