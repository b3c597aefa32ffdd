//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// group is a version 2 control group. It is used for two things only, which
// every such group has, with no controller enabled: exact processor time of all
// that ever ran in it (cpu.stat), and killing all that runs in it
// (cgroup.kill). An empty path means that there is no such hierarchy.
type group struct{ path string }

// rootGroup names a group at the top of the version 2 hierarchy, which is a
// mount of its own on machines that still use version 1 for controllers.
func rootGroup(name string) group {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return group{}
	}
	for line := range strings.Lines(string(text)) {
		before, after, found := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if found && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 5 && strings.HasPrefix(fields[5], "rw") {
			return group{path: filepath.Join(fields[4], name)}
		}
	}
	return group{}
}

func (g group) exists() bool { return g.path != "" }

// child names a group inside this one.
func (g group) child(name string) group {
	if !g.exists() {
		return g
	}
	return group{path: filepath.Join(g.path, name)}
}

func (g group) make() error {
	if !g.exists() {
		return nil
	}
	if err := os.Mkdir(g.path, 0o755); err != nil {
		return fmt.Errorf("making a control group: %w", err)
	}
	return nil
}

// cpu is the processor time, user and system, of all that ran in the group.
func (g group) cpu() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(g.path, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if digits, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat: no usage_usec", g.path)
}

// kill ends every process in the group and below it.
func (g group) kill() error {
	err := os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// remove kills what is left and removes the group with its children. Killed
// processes take a moment to leave, so it asks again for a while.
func (g group) remove() error {
	if !g.exists() {
		return nil
	}
	if _, err := os.Stat(g.path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var err error
	for range 100 {
		if err = errors.Join(g.kill(), g.removeTree()); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("removing a control group: %w", err)
}

// removeTree removes the group's directories; their files go with them.
func (g group) removeTree() error {
	entries, err := os.ReadDir(g.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := g.child(entry.Name()).removeTree(); err != nil {
				return err
			}
		}
	}
	return os.Remove(g.path)
}
