//go:build linux

package mountpoint

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// Mount is one line of the mount table.
type Mount struct {
	Device string // major:minor; of FUSE the minor is the connection's number
	Root   string // the directory of the file system that is shown
	Point  string // where
	Type   string // "overlay", "fuse.shoal"
	Source string
	Super  string // the file system's options
}

// List is the mount table of this process, in the order of mounting.
func List() ([]Mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mount table: %w", err)
	}
	defer f.Close()
	return parse(f)
}

// At are the mounts whose point is exactly dir.
func At(dir string) ([]Mount, error) {
	all, err := List()
	var found []Mount
	for _, m := range all {
		if m.Point == dir {
			found = append(found, m)
		}
	}
	return found, err
}

// Topmost is the mount that is seen at dir; false if there is none.
func Topmost(dir string) (Mount, bool, error) {
	mounted, err := At(dir)
	if err != nil || len(mounted) == 0 {
		return Mount{}, false, err
	}
	return mounted[len(mounted)-1], true, nil
}

// Below are the mounts at dir and below it.
func Below(dir string) ([]Mount, error) {
	all, err := List()
	var found []Mount
	for _, m := range all {
		if m.Point == dir || strings.HasPrefix(m.Point, strings.TrimSuffix(dir, "/")+"/") {
			found = append(found, m)
		}
	}
	return found, err
}

// parse reads the form of /proc/self/mountinfo: see proc_pid_mountinfo(5). A line
// that it does not understand is left out.
func parse(r io.Reader) ([]Mount, error) {
	var mounts []Mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // an overlay may have hundreds of lower directories
	for lines.Scan() {
		head, tail, ok := strings.Cut(lines.Text(), " - ")
		before, after := strings.Fields(head), strings.Split(tail, " ")
		if !ok || len(before) < 6 || len(after) < 3 {
			continue
		}
		mounts = append(mounts, Mount{
			Device: before[2], Root: unescape(before[3]), Point: unescape(before[4]),
			Type: after[0], Source: unescape(after[1]), Super: unescape(after[2]),
		})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the mount table: %w", err)
	}
	return mounts, nil
}

// unescape undoes \040 and its like.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) && octal(text[i+1:i+4]) {
			b.WriteByte((text[i+1]-'0')<<6 | (text[i+2]-'0')<<3 | (text[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func octal(digits string) bool {
	for _, c := range []byte(digits) {
		if c < '0' || c > '7' {
			return false
		}
	}
	return true
}
