//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// How long a read pauses after a failed try to get its bytes, and how often an
// interrupted one looks whether its process is being killed.
const (
	firstPause = 50 * time.Millisecond
	longPause  = 500 * time.Millisecond
	lookAgain  = 100 * time.Millisecond
)

// wait is one request that waits for bytes: until they are here, its deadline
// passes, its image ends, or nobody is left to take the answer.
//
// An interrupt alone does not end it. Programs get signals all the time (the Go
// runtime sends them to itself), and for most of them a read from a file that
// fails with EINTR is a broken disk; to one that has the file mapped it is a
// SIGBUS. But the kernel does not let a process die before the request that it
// sent is answered, and sends one interrupt only. So an interrupted wait looks
// from time to time whether its thread has SIGKILL pending, which is how every
// deadly signal arrives; then it answers EINTR, which nobody will see.
type wait struct {
	im       *Image
	slot     *slot
	pid      uint32
	cancel   <-chan struct{} // nil after the interrupt
	deadline *time.Timer
	look     *time.Ticker // after the interrupt
	pause    time.Duration
	shown    *Wait
}

func (im *Image) beginWait(cancel <-chan struct{}, pid uint32, s *slot, off, n int64) *wait {
	w := &wait{
		im: im, slot: s, pid: pid, cancel: cancel, pause: firstPause,
		deadline: time.NewTimer(im.fs.cfg.Deadline),
		shown:    &Wait{Object: s.device.Object, Offset: off, Length: n, Since: time.Now()},
	}
	im.waits.add(w.shown)
	im.fs.metrics.Waits.Inc()
	return w
}

func (w *wait) end() {
	w.deadline.Stop()
	if w.look != nil {
		w.look.Stop()
	}
	w.im.waits.remove(w.shown)
	w.im.fs.metrics.Waits.Dec()
	w.im.fs.metrics.Waited.Observe(time.Since(w.shown.Since).Seconds())
}

// flight waits for f. If f fails, it pauses, and the caller is to try again: what
// cannot be had now may be had before the deadline. OK means to go on.
func (w *wait) flight(f *flight) gofuse.Status {
	if st := w.until(f.done); st != gofuse.OK {
		return w.failed(st)
	}
	if f.err == nil {
		return gofuse.OK
	}
	if errors.Is(f.err, ErrNever) {
		w.im.fail("content", f.err)
		return gofuse.EIO
	}
	w.im.waits.explain(w.shown, f.err.Error())
	ready := make(chan struct{})
	timer := time.AfterFunc(w.pause, func() { close(ready) })
	defer timer.Stop()
	w.pause = min(2*w.pause, longPause)
	return w.failed(w.until(ready))
}

// until waits for done to be closed. EIO is the deadline.
func (w *wait) until(done <-chan struct{}) gofuse.Status {
	var look <-chan time.Time
	for {
		if w.look != nil {
			look = w.look.C
		}
		select {
		case <-done:
			return gofuse.OK
		case <-w.im.ctx.Done():
			return stale
		case <-w.deadline.C:
			return gofuse.EIO
		case <-w.cancel:
			w.cancel = nil
			w.look = time.NewTicker(lookAgain)
		case <-look:
		}
		if w.cancel == nil && (dying(w.pid) || w.im.fs.conn.dead()) {
			return gofuse.EINTR
		}
	}
}

func (w *wait) failed(st gofuse.Status) gofuse.Status {
	if st == gofuse.EIO {
		w.slot.gaveUp(w.shown.Offset, w.shown.Length)
		w.im.fail("deadline", &lateError{*w.shown})
	}
	return st
}

// lateError is a read that came to its deadline.
type lateError struct{ Wait }

func (e *lateError) Error() string {
	text := fmt.Sprintf("%d bytes at %d of object %s did not come within %s",
		e.Length, e.Offset, e.Object, time.Since(e.Since).Round(time.Millisecond))
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}
