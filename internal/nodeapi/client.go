package nodeapi

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

	"github.com/shoal-project/shoal/chunk"
)

// ErrAway says that no peer answers on the socket. It may come back.
var ErrAway = errors.New("the peer does not answer")

// ErrAbsent says that nobody in the cluster has the bytes now. Opening the image
// again makes the supernode derive them anew.
var ErrAbsent = errors.New("nobody has these bytes")

// Client asks the peer behind one Unix socket. It connects when used.
type Client struct {
	socket string
	http   *http.Client
}

// maxIdle is how many connections wait for the next read; more are made when
// more readers wait.
const maxIdle = 64

// New is a client for the peer at a socket.
func New(socket string) *Client {
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

// Open has the image's tree brought into the peer's store, and tells how far
// that is.
func (c *Client) Open(ctx context.Context, r OpenRequest, tell func(Progress)) (*Image, error) {
	response, err := c.do(ctx, http.MethodPost, "/v1/remote/open", r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var e event
		switch err := json.Unmarshal(lines.Bytes(), &e); {
		case err != nil:
			return nil, fmt.Errorf("the peer's answer: %w", err)
		case e.Error != "":
			return nil, errors.New(e.Error)
		case e.Image != nil:
			return e.Image, nil
		case e.Progress != nil:
			tell(*e.Progress)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w any more: it ended before the image was open", ErrAway)
}

// Fetch returns when the bytes are in the peer's store, with the map of all
// blocks of the object that are.
func (c *Client) Fetch(ctx context.Context, r FetchRequest) (*chunk.Bitmap, error) {
	var answer fetched
	if err := c.call(ctx, http.MethodPost, "/v1/remote/fetch", r, &answer); err != nil {
		return nil, err
	}
	have, ok := chunk.ParseBitmap(answer.Have, chunk.BlockCount(r.Size))
	if !ok {
		return nil, errors.New("the peer's answer has a map that does not fit the object")
	}
	return have, nil
}

// Pin keeps objects in the peer's store under a name until Unpin; it takes the
// place of what the name kept before.
func (c *Client) Pin(ctx context.Context, name string, objects []chunk.Digest) error {
	return c.call(ctx, http.MethodPut, "/v1/remote/pins/"+url.PathEscape(name), pinned{objects}, nil)
}

// Unpin lets go of what a name kept; an unknown name is no error.
func (c *Client) Unpin(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/remote/pins/"+url.PathEscape(name), nil, nil)
}

// Store is the directory of the peer's store (docs/FORMAT.md).
func (c *Client) Store(ctx context.Context) (string, error) {
	var answer struct {
		Dir string `json:"dir"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/remote/store", nil, &answer)
	return answer.Dir, err
}

// Bytes tells by source how many bytes of the objects came to this node since
// the peer's start.
func (c *Client) Bytes(ctx context.Context, objects []chunk.Digest) (map[string]int64, error) {
	var answer map[string]int64
	err := c.call(ctx, http.MethodPost, "/v1/remote/bytes", pinned{objects}, &answer)
	return answer, err
}

// call sends one request and reads its answer, if the caller wants one.
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	response, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	limited := io.LimitReader(response.Body, maxAnswer)
	if answer != nil {
		if err := json.NewDecoder(limited).Decode(answer); err != nil {
			return fmt.Errorf("the peer's answer: %w", err)
		}
	}
	_, _ = io.Copy(io.Discard, limited) // so that the connection can be used again
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://peer"+path, reader)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w at %s (%w); start it with `peer serve`, or set peer.socket", ErrAway, c.socket, err)
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	message := strings.TrimSpace(string(text))
	switch response.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s", ErrAbsent, message)
	case http.StatusServiceUnavailable:
		return nil, fmt.Errorf("%w: %s", ErrAway, message)
	}
	return nil, errors.New(message)
}
