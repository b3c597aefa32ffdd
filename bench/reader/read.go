//go:build linux

package reader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	piece       = 1 << 20
	randomPiece = 4 << 10
)

// counter counts what was read.
type counter struct {
	files, bytes int64
	buf          []byte
}

// file reads one file to its end.
func (c *counter) file(path string) error {
	if c.buf == nil {
		c.buf = make([]byte, piece)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c.files++
	for {
		n, err := f.Read(c.buf)
		c.bytes += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *counter) list(ctx context.Context, job Job) error {
	for _, name := range job.Files {
		if err := errors.Join(ctx.Err(), c.file(filepath.Join(job.Root, name))); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) walk(ctx context.Context, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return errors.Join(err, ctx.Err())
		}
		return c.file(path)
	})
}

// find runs find, as people do, and counts its lines.
func (c *counter) find(ctx context.Context, root string) error {
	cmd := exec.CommandContext(ctx, "find", root, "-printf", "%s %m\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		c.files++
	}
	return cmd.Wait()
}

// random reads aligned pieces at places that depend on the seed alone.
func (c *counter) random(ctx context.Context, job Job) error {
	if len(job.Files) != 1 {
		return fmt.Errorf("random reads are of one file, not %d", len(job.Files))
	}
	f, err := os.Open(filepath.Join(job.Root, job.Files[0]))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < randomPiece {
		return fmt.Errorf("%s has only %d bytes", job.Files[0], info.Size())
	}
	c.files = 1
	buf, from := make([]byte, randomPiece), rand.New(rand.NewPCG(job.Seed, 0))
	for range job.Pieces {
		n, err := f.ReadAt(buf, from.Int64N(info.Size()/randomPiece)*randomPiece)
		if err != nil {
			return err
		}
		c.bytes += int64(n)
	}
	return ctx.Err()
}
