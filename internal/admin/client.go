package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/shoal-project/shoal/internal/pull"
)

// Client talks to a daemon through its Unix socket.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient is a client for the daemon at a socket. It connects when used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status is the daemon's status as JSON.
func (c *Client) Status(ctx context.Context) ([]byte, error) { return c.get(ctx, "/v1/status") }

// Explain tells where the bytes of an object or an image came from, as JSON.
func (c *Client) Explain(ctx context.Context, what string, platforms []string) ([]byte, error) {
	query := url.Values{"image": {what}, "platform": platforms}
	if strings.HasPrefix(what, "sha256:") {
		query = url.Values{"object": {what}}
	}
	return c.get(ctx, "/v1/explain?"+query.Encode())
}

// Start has the daemon pull an image while nobody waits.
func (c *Client) Start(ctx context.Context, r pull.Request) error {
	response, err := c.Do(ctx, http.MethodPost, "/v1/pull?background", r)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Pull has the daemon pull an image, and hears how far it is until it is done.
func (c *Client) Pull(ctx context.Context, r pull.Request, tell func(pull.Event)) error {
	return Lines(ctx, c, http.MethodPost, "/v1/pull", r, func(e pull.Event) (bool, error) {
		tell(e)
		if e.Error != "" {
			return true, errors.New(e.Error)
		}
		return e.Done, nil
	})
}

// Lines sends a request, and gives each line of the answer, which is JSON, to
// each, until that is done or fails.
func Lines[E any](ctx context.Context, c *Client, method, path string, request any, each func(E) (done bool, err error)) error {
	response, err := c.Do(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e E
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("the daemon's answer: %w", err)
		}
		if done, err := each(e); done || err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errors.New("the daemon ended before this was done; start it again and repeat: what arrived is kept"), lines.Err())
}

func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	response, err := c.Do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// Do sends a request, with a body in JSON unless it is nil. An answer other than
// success is an error with the daemon's own words; the caller closes the body of
// any other.
func (c *Client) Do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, reader)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return nil, errors.New(strings.TrimSpace(string(text)))
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon listens on %s; start it with `serve`, or name its socket with --socket", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s may not be opened: run this as the user of the daemon", c.socket)
	}
	return fmt.Errorf("asking the daemon at %s: %w", c.socket, err)
}
