//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// process is a daemon of ours, its output in a file.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	state  error // valid after exited
}

// starter starts a command, perhaps in another network namespace.
type starter func(*exec.Cmd) error

func here(cmd *exec.Cmd) error { return cmd.Start() }

// launch starts a daemon that ends with the test.
func launch(t testing.TB, start starter, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(args[0]), exited: make(chan struct{})}
	p.log = filepath.Join(dir, p.name+".log")
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := start(p.cmd); err != nil {
		t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() {
		p.state = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("%s (%s) ends with:\n%s", p.name, p.log, p.tail())
		}
	})
	return p
}

// stop ends the daemon as a service manager does. It may be gone already.
func (p *process) stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		t.Errorf("%s did not end within 20s of SIGTERM", p.name)
		p.kill()
	}
}

// kill is kill -9 of the daemon alone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// standStill stops the daemon for a while, as a machine that is moved does.
func (p *process) standStill(t testing.TB, d time.Duration) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 1500
	return string(text[max(0, len(text)-most):])
}

// peakMemory is VmHWM in bytes.
func (p *process) peakMemory(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("%s has no VmHWM", p.name)
	return 0
}

// await polls until probe succeeds; a daemon that ends meanwhile fails the test.
func (p *process) await(t testing.TB, what string, probe func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.exited:
			t.Fatalf("%s ended (%v) before %s:\n%s", p.name, p.state, what, p.tail())
		case <-ctx.Done():
			t.Fatalf("waiting for %s of %s: %v\n%s", what, p.name, err, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// command runs a program to its end and returns its standard output.
func command(t testing.TB, env []string, args ...string) string {
	t.Helper()
	out, err := try(t, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(t testing.TB, env []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute) // also in clean-ups
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// directory is a test's own, with a short path.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv(marker), "t")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := errorsOf(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}
