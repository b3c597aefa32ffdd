//go:build linux

package reader

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Argument is the first argument by which a measuring program that has the
// reader built in knows that it was started as one.
const Argument = "measuring-reader"

// Kind is what a job does.
type Kind string

// The kinds of jobs.
const (
	Run    Kind = "run"    // become a program with Root as its root directory
	Read   Kind = "read"   // read Files
	Walk   Kind = "walk"   // read every regular file of the tree
	Find   Kind = "find"   // list the tree with find, and stat everything
	Random Kind = "random" // read Pieces of 4 KiB of the first of Files, here and there
)

// Job is what a reader does.
type Job struct {
	Kind  Kind     `json:"kind"`
	Root  string   `json:"root"`
	Files []string `json:"files,omitempty"` // relative to Root
	// Times is how often it is done; each time is measured.
	Times   int      `json:"times"`
	Pieces  int      `json:"pieces,omitempty"`
	Seed    uint64   `json:"seed,omitempty"`
	Command []string `json:"command,omitempty"` // absolute path inside Root, and arguments
	Env     []string `json:"env,omitempty"`
	Dir     string   `json:"dir,omitempty"`
}

// Result is what a reader reports: of each time the seconds, and what was read
// the last time.
type Result struct {
	Seconds []float64 `json:"seconds"`
	Files   int64     `json:"files"`
	Bytes   int64     `json:"bytes"`
}

// Main is the reader as a process: the job is the only argument.
func Main(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("want a job as the one argument, not %d", len(args))
	}
	var job Job
	if err := json.Unmarshal([]byte(args[0]), &job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if job.Kind == Run {
		return become(job)
	}
	var result Result
	for range max(job.Times, 1) {
		start := time.Now()
		count, err := once(ctx, job)
		if err != nil {
			return err
		}
		result.Seconds = append(result.Seconds, time.Since(start).Seconds())
		result.Files, result.Bytes = count.files, count.bytes
	}
	return json.NewEncoder(out).Encode(result)
}

func once(ctx context.Context, job Job) (c counter, err error) {
	switch job.Kind {
	case Read:
		err = c.list(ctx, job)
	case Walk:
		err = c.walk(ctx, job.Root)
	case Find:
		err = c.find(ctx, job.Root)
	case Random:
		err = c.random(ctx, job)
	default:
		err = fmt.Errorf("no such kind of job: %q", job.Kind)
	}
	return c, err
}
