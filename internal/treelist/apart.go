//go:build linux

package treelist

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// childName is how a child knows itself: its own name, which no program has.
const childName = "shoal-treelist-child"

// RunIfChild must be the first call of the TestMain (or main) of a program that
// uses [ListApart]. In a child it lists and ends the process; else it does
// nothing.
func RunIfChild() {
	if len(os.Args) != 3 || os.Args[0] != childName {
		return
	}
	if err := serve(os.Args[1], os.Args[2], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(options, root string, out io.Writer) error {
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return fmt.Errorf("read options: %w", err)
	}
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	if err := walk(context.Background(), root, o, func(e Entry) error { return enc.Encode(e) }); err != nil {
		return err
	}
	return w.Flush()
}

// ListApart is [List] by a child process, so that the tree may be a mount that
// this process serves. When ctx ends the child is killed; one that hangs inside
// the kernel ends when its mount does.
func ListApart(ctx context.Context, root string, o Options) ([]Entry, error) {
	options, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = []string{childName, string(options), root}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a child to list %s: %w", root, err)
	}
	all, decodeErr := decode(out)
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("list %s in a child: %w: %s", root, err, bytes.TrimSpace(complaint.Bytes()))
	}
	if decodeErr != nil {
		return nil, fmt.Errorf("read a child's listing of %s (does TestMain call RunIfChild?): %w", root, decodeErr)
	}
	return all, nil
}

// decode reads to the end in any case, so that the child is not left blocked.
func decode(r io.Reader) ([]Entry, error) {
	dec := json.NewDecoder(r)
	var all []Entry
	for {
		var e Entry
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			_, drain := io.Copy(io.Discard, r)
			return nil, errors.Join(err, drain)
		}
		all = append(all, e)
	}
}
