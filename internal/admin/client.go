package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/shoal-project/shoal/internal/pull"
)

// Client talks to a daemon through its Unix socket.
type Client struct {
	socket string
	http   *http.Client
}

// maxIdle is how many connections wait for the next request; more are made when
// more requests wait.
const maxIdle = 64

// maxAnswer bounds an answer that is read whole, and a line of one that is not.
const maxAnswer = 16 << 20

// NewClient is a client for the daemon at a socket. It connects when used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle,
	}}}
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

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
	return c.Call(ctx, http.MethodPost, "/v1/pull?background", r, nil)
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
	lines.Buffer(nil, maxAnswer)
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
	return errors.Join(ErrEnded, lines.Err())
}

// Call sends a request, and reads the answer, which is JSON, unless answer is nil.
func (c *Client) Call(ctx context.Context, method, path string, request, answer any) error {
	response, err := c.Do(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	limited := io.LimitReader(response.Body, maxAnswer)
	if answer != nil {
		if err := json.NewDecoder(limited).Decode(answer); err != nil {
			return fmt.Errorf("the daemon's answer: %w", err)
		}
	}
	_, _ = io.Copy(io.Discard, limited) // so that the connection can be used again
	return nil
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
// success is a *Refusal; the caller closes the body of any other. No answer is
// *Unreachable, or the context's error.
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
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &Unreachable{Socket: c.socket, Err: err}
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return nil, &Refusal{Status: response.StatusCode, Words: strings.TrimSpace(string(text))}
}
