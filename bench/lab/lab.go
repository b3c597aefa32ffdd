//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Lab is a running network. It is made by [New] or [Run].
type Lab struct {
	config Config
	log    *slog.Logger
	record *record
	sw     *thread
	hosts  []*Host

	mu        sync.Mutex
	processes []*Process
	groups    int
	closed    bool
}

// Available reports why a lab cannot be made here, or nil.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: install iproute2", tool)
		}
	}
	probe, err := newThread()
	if err != nil {
		return err
	}
	probe.close()
	return nil
}

// New makes a lab, after removing what labs of dead processes left behind. The
// caller closes it. ctx bounds the making only.
func New(ctx context.Context, config Config) (*Lab, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("lab configuration: %w", err)
	}
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := sweep(log); err != nil {
		return nil, fmt.Errorf("removing an abandoned lab: %w", err)
	}
	rec, err := newRecord(config.StoreBytes)
	if err != nil {
		return nil, fmt.Errorf("preparing a lab: %w", err)
	}
	l := &Lab{config: config, log: log, record: rec}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("building a lab: %w", err), l.Close())
	}
	return l, nil
}

// Run makes a lab, calls fn, and closes the lab however fn ends: also by a
// panic, and also when an interrupt or SIGTERM arrives, which ends fn's context.
func Run(ctx context.Context, config Config, fn func(context.Context, *Lab) error) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := New(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return fn(ctx, l)
}

func (l *Lab) build(ctx context.Context) (err error) {
	if l.sw, err = makeSwitch(ctx); err != nil {
		return err
	}
	for i, name := range l.config.Hosts {
		h := &Host{lab: l, name: name, addr: address(i), dir: filepath.Join(l.record.store, name)}
		if err := os.Mkdir(h.dir, 0o755); err != nil {
			return err
		}
		if h.thread, err = newThread(); err != nil {
			return err
		}
		l.hosts = append(l.hosts, h)
		if err := plug(ctx, l.sw, h); err != nil {
			return err
		}
		if l.config.Rate == 0 {
			continue
		}
		if err := l.config.shape(ctx, l.sw, h, l.config.Rate); err != nil {
			return err
		}
	}
	l.log.Debug("lab is up", "name", l.record.name, "hosts", len(l.hosts), "rate", l.config.Rate.String())
	return nil
}

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, 0, byte(firstHost + i)})
}

// Host returns a host by name. A name that is not in the configuration is a
// mistake in the calling program, and panics.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.hosts {
		if h.name == name {
			return h
		}
	}
	panic("lab: no host named " + name)
}

// Hosts are all the hosts, in the order of the configuration.
func (l *Lab) Hosts() []*Host { return append([]*Host(nil), l.hosts...) }

// Name is the lab's name, unique to it.
func (l *Lab) Name() string { return l.record.name }

// Dir is a directory on the lab's tmpfs; each host's is inside it.
func (l *Lab) Dir() string { return l.record.store }

// nextGroup names a control group for one process.
func (l *Lab) nextGroup(host string) group {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups++
	return l.record.group.child(host + "-" + strconv.Itoa(l.groups))
}

// adopt takes charge of a process, unless the lab is closed.
func (l *Lab) adopt(p *Process) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.processes = append(l.processes, p)
	return true
}

// Close stops all processes, ends the namespaces and removes all traces. It may
// be called again.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	processes := l.processes
	l.mu.Unlock()

	errs := make([]error, len(processes))
	var stopping sync.WaitGroup
	for i, p := range processes {
		stopping.Go(func() { errs[i] = p.Stop() })
	}
	stopping.Wait()
	for _, h := range l.hosts {
		h.thread.close()
	}
	if l.sw != nil {
		l.sw.close()
	}
	errs = append(errs, l.record.remove())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the lab: %w", err)
	}
	return nil
}
