//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// errClosed is returned for work in a namespace that is gone.
var errClosed = errors.New("the lab is closed")

// thread is an operating system thread in a network namespace of its own, and
// what keeps that namespace in being. Sockets opened and processes forked by
// its jobs belong to the namespace.
type thread struct {
	tid   int
	inode uint64 // names the namespace
	jobs  chan func()
	quit  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// newThread starts a thread in a new, empty namespace.
func newThread() (*thread, error) {
	t := &thread{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error)
	go t.run(ready)
	if err := <-ready; err != nil {
		<-t.done
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return t, nil
}

// run owns the thread. It never unlocks it, so the runtime ends the thread, and
// with it the namespace, when run returns. The process's main thread must keep
// its namespace (it is what /proc/PID/ns/net shows), and cannot end; when the
// scheduler gave us that one, another is taken while this one is held.
func (t *thread) run(ready chan error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		relay := make(chan error)
		go t.run(relay)
		err := <-relay
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	defer close(t.done)
	if err := t.unshare(); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for {
		select {
		case job := <-t.jobs:
			job()
		case <-t.quit:
			return
		}
	}
}

func (t *thread) unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	inode, err := namespaceOf("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	t.tid, t.inode = unix.Gettid(), inode
	return t.check()
}

// check refuses to go on when the thread is anywhere but in its namespace.
func (t *thread) check() error {
	here, err := namespaceOf("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	root, err := namespaceOf(fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	if err != nil {
		return err
	}
	if here != t.inode || here == root {
		return fmt.Errorf("refused: network namespace %d was not made by this lab", here)
	}
	return nil
}

// do runs fn on the thread, in the namespace, and waits for it. A panic in fn
// becomes the caller's, whose deferred cleaning then still happens.
func (t *thread) do(fn func() error) error {
	var panicked any
	result := make(chan error, 1)
	job := func() {
		var err error
		defer func() { panicked = recover(); result <- err }()
		if err = t.check(); err == nil {
			err = fn()
		}
	}
	select {
	case t.jobs <- job:
	case <-t.done:
		return errClosed
	}
	err := <-result
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// path is how another namespace names this one.
func (t *thread) path() string {
	return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), t.tid)
}

// close ends the thread. Later work is refused.
func (t *thread) close() {
	t.once.Do(func() { close(t.quit) })
	<-t.done
}

func namespaceOf(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, fmt.Errorf("looking at %s: %w", path, err)
	}
	return stat.Ino, nil
}
