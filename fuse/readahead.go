//go:build linux

package fuse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// setReadAhead sets the kernel's read-ahead of a mount. The kernel caps what a
// file system asks for itself at 128 KiB, but not what is written here.
func setReadAhead(device string, bytes int64) error {
	path := "/sys/class/bdi/" + device + "/read_ahead_kb"
	if err := os.WriteFile(path, []byte(strconv.FormatInt(bytes>>10, 10)), 0); err != nil {
		return fmt.Errorf("set read-ahead: %w", err)
	}
	return nil
}

// deviceAt is [deviceOf] among this process's mounts.
func deviceAt(dir string) (string, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer mounts.Close()
	return deviceOf(dir, mounts)
}

// deviceOf finds the device number, "major:minor", of what is mounted last at
// dir. A stat of dir would be a request to this very process.
func deviceOf(dir string, mountinfo io.Reader) (string, error) {
	device := ""
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && unescape(fields[4]) == dir {
			device = fields[2]
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if device == "" {
		return "", errors.New("nothing is mounted at " + dir)
	}
	return device, nil
}

// unescape reads the octal form in which space, tab, newline and backslash are
// written.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
