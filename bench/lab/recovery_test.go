//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/lab/labtest"
)

// asOwner makes this test binary a process that owns a lab, for others to kill.
const asOwner = "SHOAL_LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(asOwner) != "" {
		os.Exit(own())
	}
	os.Exit(m.Run())
}

// own runs a lab with one process until it is interrupted.
func own() int {
	err := lab.Run(context.Background(), small(0), func(ctx context.Context, l *lab.Lab) error {
		p, err := l.Host("a").Start(lab.Command{Args: []string{"sh", "-c", "sleep 300 & sleep 300"}})
		if err != nil {
			return err
		}
		fmt.Println(l.Name(), p.PID())
		if os.Getenv(asOwner) == "panic" {
			panic("as told")
		}
		<-ctx.Done()
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startOwner runs another process's lab and returns its name and a process in it.
func startOwner(t *testing.T, how string) (*exec.Cmd, string, int) {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skipf("SKIP: no network lab here: %v", err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asOwner+"="+how)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var name string
	var pid int
	if _, err := fmt.Fscan(bufio.NewReader(out), &name, &pid); err != nil {
		t.Fatal("the owner did not start:", err)
	}
	return cmd, name, pid
}

func traces(name string) []string {
	var found []string
	for _, pattern := range []string{"/run/shoal-lab/" + name, "/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		matches, _ := filepath.Glob(pattern)
		found = append(found, matches...)
	}
	return found
}

// waitGone waits for a process that init, not this test, collects.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(status), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d outlived its lab", pid)
}

func TestRunCleansUpWhenInterruptedOrPanicking(t *testing.T) {
	for how, signal := range map[string]os.Signal{"interrupt": os.Interrupt, "terminate": syscall.SIGTERM, "panic": nil} {
		t.Run(how, func(t *testing.T) {
			cmd, name, pid := startOwner(t, how)
			if signal != nil {
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Wait(); (err != nil) != (signal == nil) {
				t.Errorf("the owner ended with %v", err)
			}
			waitGone(t, pid)
			if left := traces(name); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestNextLabRemovesWhatAKilledOneLeft(t *testing.T) {
	cmd, name, pid := startOwner(t, "kill")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitGone(t, pid)
	if len(traces(name)) == 0 {
		t.Fatal("a killed lab left no trace: the test tests nothing")
	}
	labtest.New(t, small(0))
	if left := traces(name); len(left) != 0 {
		t.Errorf("still there: %v", left)
	}
}

func TestLivingAndForeignDirectoriesAreLeftAlone(t *testing.T) {
	cmd, name, _ := startOwner(t, "interrupt")
	for _, foreign := range []string{"notes", "shl1-2", "shlx-1-1", "shl0-1-1"} {
		dir := filepath.Join("/run/shoal-lab", foreign)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(dir); os.Remove("/run/shoal-lab") })
	}
	l := labtest.New(t, small(0))
	if len(traces(name)) == 0 {
		t.Error("a living process's lab was removed")
	}
	for _, foreign := range []string{"notes", "shl1-2", "shlx-1-1", "shl0-1-1"} {
		if len(traces(foreign)) == 0 {
			t.Errorf("%s, which no lab made, was removed", foreign)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
