//go:build linux

package system

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/lab"
)

// headStart is how far ahead the starting instant is set: enough for every
// client to have read it.
const headStart = 150 * time.Millisecond

// Client is a measuring client that waits to be told when to begin.
type Client struct {
	*lab.Process
	in     io.WriteCloser
	out    *bufio.Reader
	pipe   *os.File
	stderr *bytes.Buffer
}

// StartClient starts this very program as a client on a host and gives it its
// job. It has begun nothing when StartClient returns.
func StartClient(host *lab.Host, job client.Job) (*Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inRead.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inWrite.Close())
	}
	defer outWrite.Close()
	c := &Client{in: inWrite, pipe: outRead, out: bufio.NewReader(outRead), stderr: new(bytes.Buffer)}
	c.Process, err = host.Start(lab.Command{
		Name: "client", Args: []string{self, client.Argument}, Stdin: inRead, Stdout: outWrite, Stderr: c.stderr,
	})
	if err != nil {
		return nil, errors.Join(err, c.closePipes())
	}
	outWrite.Close()
	if err := c.prepare(job); err != nil {
		return nil, errors.Join(fmt.Errorf("client on %s: %w", host.Name(), err), c.Close())
	}
	return c, nil
}

func (c *Client) prepare(job client.Job) error {
	if err := json.NewEncoder(c.in).Encode(job); err != nil {
		return err
	}
	line, err := c.out.ReadString('\n')
	if err != nil || line != "ready\n" {
		return fmt.Errorf("said %q instead of ready: %w", line, err)
	}
	return nil
}

// Release lets clients begin, all at the same instant, and collects what they
// report, in their order. What one could not do is in its result.
func Release(ctx context.Context, clients []*Client) []client.Result {
	start := time.Now().Add(headStart).UnixNano()
	results := make([]client.Result, len(clients))
	for i, c := range clients {
		if _, err := fmt.Fprintln(c.in, start); err != nil {
			results[i].Error = err.Error()
		}
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range clients {
			_ = c.Kill()
		}
	})
	defer stop()
	for i, c := range clients {
		if results[i].Error != "" {
			continue
		}
		line, err := c.out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &results[i])
		}
		if err != nil {
			results[i].Error = fmt.Sprintf("the client ended without a result: %v", err)
		}
	}
	return results
}

// Close ends the client, if it has not ended, and frees its pipes.
func (c *Client) Close() error {
	return errors.Join(c.Kill(), c.closePipes())
}

func (c *Client) closePipes() error { return errors.Join(c.in.Close(), c.pipe.Close()) }
