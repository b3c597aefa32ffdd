package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Facts are what a figure depends on beside the code under test.
type Facts struct {
	Date      string   `json:"date"`
	Commit    string   `json:"commit"`
	Cores     int      `json:"cores"`
	CPU       string   `json:"cpu"`
	MemoryGiB int      `json:"memory_gib"`
	Kernel    string   `json:"kernel"`
	Go        string   `json:"go"`
	Programs  []string `json:"programs"`
}

// Gather collects the facts; programs are versions of what runs beside Shoal.
func Gather(ctx context.Context, programs ...string) Facts {
	return Facts{
		Date:      time.Now().UTC().Format(time.DateOnly),
		Commit:    commit(ctx),
		Cores:     runtime.NumCPU(),
		CPU:       field("/proc/cpuinfo", "model name"),
		MemoryGiB: memory(),
		Kernel:    firstWord("/proc/sys/kernel/osrelease"),
		Go:        runtime.Version(),
		Programs:  programs,
	}
}

// Line is the facts in one line of text.
func (f Facts) Line() string {
	return fmt.Sprintf("%s, commit %s; %d cores %s, %d GiB, Linux %s, %s; %s",
		f.Date, f.Commit, f.Cores, f.CPU, f.MemoryGiB, f.Kernel, f.Go, strings.Join(f.Programs, ", "))
}

// commit names the source tree, with a plus when it has changes of its own.
func commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := string(bytes.TrimSpace(head))
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output()
	if err != nil || len(changes) > 0 {
		name += "+changes"
	}
	return name
}

// field is the value of the first "key : value" line of a file under /proc.
func field(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memory() int {
	kib, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"))
	if err != nil {
		return 0
	}
	return (kib + 1<<19) >> 20
}

// firstWord cuts a kernel's release at its first dash: what follows often names
// the machine it was built for.
func firstWord(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	release, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-")
	return release
}
