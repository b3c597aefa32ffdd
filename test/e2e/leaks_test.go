//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-project/shoal/internal/cri"
)

// awaitNoLeaks gives what was told to end a moment to do so, and lists the rest.
func awaitNoLeaks(scratch string) []string {
	var left []string
	for range 100 {
		if left = leaks(scratch); len(left) == 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return left
}

func leaks(scratch string) []string {
	left := leakedProcesses(scratch)
	left = append(left, linesWith("/proc/self/mountinfo", scratch, "mount")...)
	left = append(left, linesWith("/proc/net/unix", scratch, "socket")...)
	for _, dir := range cri.Groups(groupName()) {
		left = append(left, "control group "+dir)
	}
	return left
}

// leakedProcesses finds processes by their command line or environment. This
// process has the scratch directory in its own environment.
func leakedProcesses(scratch string) []string {
	var left []string
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// A process that ends meanwhile reads as empty, which is right.
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if strings.Contains(string(args), scratch) || strings.Contains(string(environ), scratch) {
			left = append(left, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(string(args), "\x00", " ")))
		}
	}
	return left
}

func linesWith(file, part, what string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, part) {
			found = append(found, what+": "+strings.TrimSpace(line))
		}
	}
	return found
}

// groupName is the parent of all control groups that engines make for us.
func groupName() string { return filepath.Base(os.Getenv(marker)) }

// removeGroups removes the empty control groups that engines leave by design; one
// that is in use is found by the leak check.
func removeGroups() { cri.RemoveGroups(groupName()) }
