package nodeapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/admin"
)

// ErrAway says that no peer answers on the socket. It may come back.
var ErrAway = errors.New("the peer does not answer")

// ErrAbsent says that nobody in the cluster has the bytes now. Opening the image
// again makes the supernode derive them anew.
var ErrAbsent = errors.New("nobody has these bytes")

// Client asks the peer behind one Unix socket. It connects when used.
type Client struct{ admin *admin.Client }

// New is a client for the peer at a socket.
func New(socket string) *Client { return &Client{admin.NewClient(socket)} }

// Close gives up idle connections.
func (c *Client) Close() { c.admin.Close() }

// Open has the image's tree brought into the peer's store, and tells how far
// that is.
func (c *Client) Open(ctx context.Context, r OpenRequest, tell func(Progress)) (image *Image, err error) {
	err = admin.Lines(ctx, c.admin, http.MethodPost, "/v1/remote/open", r, func(e event) (bool, error) {
		if e.Progress != nil {
			tell(*e.Progress)
		}
		image = e.Image
		return image != nil, wordsOf(e.Error)
	})
	if err != nil {
		return nil, fault(ctx, err)
	}
	return image, nil
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

// Unpin lets go of what a name kept; an unknown name is no error. With free, what
// no other name keeps is removed, what is in use as soon as it is not.
func (c *Client) Unpin(ctx context.Context, name string, free bool) error {
	path := "/v1/remote/pins/" + url.PathEscape(name)
	if free {
		path += "?free"
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

// Store is the directory of the peer's store (docs/FORMAT.md).
func (c *Client) Store(ctx context.Context) (string, error) {
	var answer place
	err := c.call(ctx, http.MethodGet, "/v1/remote/store", nil, &answer)
	return answer.Dir, err
}

// Room is the most bytes that the peer's store can come to hold; -1 is no bound.
func (c *Client) Room(ctx context.Context) (int64, error) {
	var answer place
	err := c.call(ctx, http.MethodGet, "/v1/remote/store", nil, &answer)
	return answer.Room, err
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
	if err := c.admin.Call(ctx, method, path, body, answer); err != nil {
		return fault(ctx, err)
	}
	return nil
}

// fault says of a failure whether the peer is away, or lacks what was asked for.
func fault(ctx context.Context, err error) error {
	var unreachable *admin.Unreachable
	var refusal *admin.Refusal
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &unreachable):
		return fmt.Errorf("%w at %s (%w); start it with `peer serve`, or set peer.socket", ErrAway, unreachable.Socket, unreachable.Err)
	case errors.Is(err, admin.ErrEnded):
		return fmt.Errorf("%w any more: it ended before its answer did", ErrAway)
	case !errors.As(err, &refusal):
		return err
	case refusal.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	case refusal.Status == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	return err
}

// wordsOf is the error that a line of an answer has, if it has one.
func wordsOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
