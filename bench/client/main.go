package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Argument is the first argument by which a measuring program that has the
// client built in knows that it was started as one.
const Argument = "measuring-client"

// Main is the client as a process: a job and then an instant are read from in,
// one line each, and a result is written to out.
func Main(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	var job Job
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading a job: %w", err)
	}
	if err := json.Unmarshal(line, &job); err != nil {
		return fmt.Errorf("reading a job: %w", err)
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	start, err := readInstant(lines)
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Until(start)):
	case <-ctx.Done():
		return ctx.Err()
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	result := Pull(ctx, &http.Client{Transport: transport}, job)
	result.PeakMemory = ownPeak()
	return json.NewEncoder(out).Encode(result)
}

func readInstant(lines *bufio.Reader) (time.Time, error) {
	line, err := lines.ReadString('\n')
	if err != nil {
		return time.Time{}, fmt.Errorf("waiting for the instant to start at: %w", err)
	}
	nanoseconds, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the instant to start at: %w", err)
	}
	return time.Unix(0, nanoseconds), nil
}

// ownPeak is this process's peak resident memory, or 0 where it is not told.
func ownPeak() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}
