//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process has to end after SIGTERM.
const stopGrace = 10 * time.Second

// Command says what to run in a host.
type Command struct {
	// Name is for messages and the control group; empty: the program's name.
	Name string
	// Args are the program (a path, or a name to find in PATH) and its arguments.
	Args []string
	// Env is added to an environment of only PATH and HOME (the host's
	// directory): proxies and the like of the caller's do not reach a lab.
	Env []string
	// Dir is the working directory; empty: the host's directory.
	Dir string
	// Stdin, Stdout and Stderr are as in [exec.Cmd]; nil: /dev/null.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Process is a program running in a host, with all that it starts.
type Process struct {
	name  string
	cmd   *exec.Cmd
	group group
	done  chan struct{}
	err   error // valid once done is closed

	mu   sync.Mutex
	peak int64
}

// Start runs a program in the host. It ends with the lab at the latest.
func (h *Host) Start(c Command) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("%s: starting a process: no program named", h.name)
	}
	path, err := exec.LookPath(c.Args[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	p := &Process{name: c.Name, done: make(chan struct{})}
	if p.name == "" {
		p.name = c.Args[0]
	}
	p.group = h.lab.nextGroup(h.name)
	if err := p.group.make(); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", h.name, p.name, err)
	}
	p.cmd = c.prepare(path, h.dir)
	if err := h.thread.do(p.start); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: starting %s: %w", h.name, p.name, err), p.group.remove())
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if !h.lab.adopt(p) {
		return nil, errors.Join(errClosed, p.Kill())
	}
	return p, nil
}

func (c Command) prepare(path, hostDir string) *exec.Cmd {
	cmd := exec.Command(path, c.Args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + hostDir}, c.Env...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = hostDir
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	// A terminal's interrupt must reach the lab alone, which stops its
	// processes in order; and no process may outlive the lab's thread.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start forks on the host's thread, straight into the control group, so that
// no child of the process can be missed.
func (p *Process) start() error {
	if !p.group.exists() {
		return p.cmd.Start()
	}
	dir, err := os.Open(p.group.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	p.cmd.SysProcAttr.UseCgroupFD, p.cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return p.cmd.Start()
}

// PID is the process id, as seen in this process's namespace.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the program to end and reports how it did.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s: %w", p.name, p.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w", p.name, ctx.Err())
	}
}

// Signal sends the program a signal.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Stop asks the program to end (SIGTERM), and kills it and all that it started
// when it has not within ten seconds, which is an error. A program that had
// ended before is none.
func (p *Process) Stop() error {
	p.sample()
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.Kill()
	case <-time.After(stopGrace):
		return errors.Join(fmt.Errorf("%s did not stop within %s of SIGTERM and was killed", p.name, stopGrace), p.Kill())
	}
}

// Kill ends the program and all that it started, at once, and waits for it.
func (p *Process) Kill() error {
	p.sample()
	_ = p.cmd.Process.Kill()
	var err error
	if p.group.exists() {
		err = p.group.kill()
	} else {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	}
	<-p.done
	return err
}

// CPU is the processor time that the program and all that it started have used
// so far. Without a control group it lacks children that were not waited for.
func (p *Process) CPU() (time.Duration, error) {
	if p.group.exists() {
		return p.group.cpu()
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
	default:
		return procCPU(p.PID())
	}
}

// procCPU adds up utime, stime, cutime and cstime, in hundredths of a second.
func procCPU(pid int) (time.Duration, error) {
	fields, err := procStat(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// PeakMemory is the most resident memory that the program itself (not its
// children) has had, in bytes, as last seen while it ran.
func (p *Process) PeakMemory() int64 {
	p.sample()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// sample notes VmHWM, which is gone once the program has ended; its process id
// may then be another's.
func (p *Process) sample() {
	select {
	case <-p.done:
		return
	default:
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "VmHWM:" {
			continue
		}
		if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			p.mu.Lock()
			p.peak = max(p.peak, kib<<10)
			p.mu.Unlock()
		}
	}
}
