//go:build linux

package cri

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxLog bounds what is read of a log.
const maxLog = 16 << 20

// Line is a line of a container's log.
type Line struct {
	Time   time.Time // when the engine had it
	Stream string    // stdout or stderr
	Text   string    // without its line feed
}

// Log is what the container has printed so far. A line that is being written is
// left out.
func (c *Container) Log() ([]Line, error) {
	f, err := os.Open(c.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLog))
	if err != nil {
		return nil, err
	}
	return parseLog(text)
}

// Output is the text of all lines of a stream.
func (c *Container) Output(stream string) (string, error) {
	lines, err := c.Log()
	var text strings.Builder
	for _, line := range lines {
		if line.Stream == stream {
			text.WriteString(line.Text + "\n")
		}
	}
	return text.String(), err
}

func parseLog(text []byte) ([]Line, error) {
	var lines []Line
	for raw := range bytes.Lines(text) {
		line, whole := bytes.CutSuffix(raw, []byte("\n"))
		if !whole {
			break
		}
		fields := strings.SplitN(string(line), " ", 4) // the third says whether a long line goes on
		if len(fields) < 4 {
			return lines, fmt.Errorf("a line of a container's log has %d fields: %q", len(fields), line)
		}
		at, err := time.Parse(time.RFC3339Nano, fields[0])
		if err != nil {
			return lines, fmt.Errorf("a line of a container's log: %w", err)
		}
		lines = append(lines, Line{Time: at, Stream: fields[1], Text: fields[3]})
	}
	return lines, nil
}
