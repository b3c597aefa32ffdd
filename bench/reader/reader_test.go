//go:build linux

package reader

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, size := range map[string]int{"a": 10, "d/b": 5000, "d/e/c": 1 << 20} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func do(t *testing.T, job Job) (Result, error) {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Main(t.Context(), []string{string(text)}, &out); err != nil {
		return Result{}, err
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r, nil
}

func TestJobsReadWhatTheySay(t *testing.T) {
	root := tree(t)
	for _, c := range []struct {
		job          Job
		files, bytes int64
	}{
		{Job{Kind: Read, Files: []string{"a", "d/b"}, Times: 3}, 2, 5010},
		{Job{Kind: Walk, Times: 1}, 3, 10 + 5000 + 1<<20},
		{Job{Kind: Find, Times: 2}, 6, 0}, // the root, two directories and three files
		{Job{Kind: Random, Files: []string{"d/e/c"}, Pieces: 7, Seed: 1, Times: 1}, 1, 7 * 4096},
	} {
		c.job.Root = root
		r, err := do(t, c.job)
		if err != nil || r.Files != c.files || r.Bytes != c.bytes || len(r.Seconds) != c.job.Times {
			t.Errorf("%s: %+v, %v; want %d files, %d bytes, %d times", c.job.Kind, r, err, c.files, c.bytes, c.job.Times)
		}
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	root := tree(t)
	for _, job := range []Job{
		{Kind: Read, Files: []string{"none"}},
		{Kind: Random, Files: []string{"a"}, Pieces: 1}, // shorter than a piece
		{Kind: Random},
		{Kind: Run},
		{Kind: "dance"},
	} {
		job.Root = root
		if r, err := do(t, job); err == nil {
			t.Errorf("%+v: no error but %+v", job, r)
		}
	}
}
