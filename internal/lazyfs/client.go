//go:build linux

package lazyfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/shoal-project/shoal/internal/admin"
)

// Client gives orders to a running daemon.
type Client struct{ *admin.Client }

// Mount has an image mounted; tell hears how far it is.
func (c Client) Mount(ctx context.Context, o MountOrder, tell func(MountNews)) error {
	return admin.Lines(ctx, c.Client, http.MethodPost, "/v1/mounts", o, func(n MountNews) (bool, error) {
		tell(n)
		return n.Done, failure(n.Error)
	})
}

// Unmount takes a mount away, although it is in use if detach is set.
func (c Client) Unmount(ctx context.Context, target string, detach bool) error {
	query := url.Values{"target": {target}}
	if detach {
		query.Set("detach", "")
	}
	return c.Call(ctx, http.MethodDelete, "/v1/mounts?"+query.Encode(), nil, nil)
}

// Verify has everything of an image hashed that is on this node, and gives the
// last news.
func (c Client) Verify(ctx context.Context, image string, tell func(VerifyNews)) (last VerifyNews, err error) {
	err = admin.Lines(ctx, c.Client, http.MethodPost, "/v1/verify", VerifyOrder{image}, func(n VerifyNews) (bool, error) {
		tell(n)
		last = n
		return n.Done, failure(n.Error)
	})
	return last, err
}

// Events gives events as they happen, until ctx ends.
func (c Client) Events(ctx context.Context, tell func(Event)) error {
	return admin.Lines(ctx, c.Client, http.MethodGet, "/v1/events", nil, func(e Event) (bool, error) {
		tell(e)
		return false, nil
	})
}

// Status asks for the daemon's status.
func (c Client) Status(ctx context.Context) (s Status, err error) {
	text, err := c.Client.Status(ctx)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("the daemon's answer: %w; are the command and the daemon of one version?", err)
	}
	return s, nil
}

// Shutdown unmounts everything and ends the daemon, and waits for that.
func (c Client) Shutdown(ctx context.Context, o ShutdownOrder) error {
	return c.order(ctx, "/v1/shutdown", o)
}

// Leave ends the daemon as SIGTERM does, and waits for that: mounts stay, if another
// can go on with them.
func (c Client) Leave(ctx context.Context) error { return c.order(ctx, "/v1/leave", nil) }

func (c Client) order(ctx context.Context, path string, body any) error {
	var ending EndingDaemon
	if err := c.Call(ctx, http.MethodPost, path, body, &ending); err != nil {
		return err
	}
	return awaitEnd(ctx, ending.DataDir)
}

func failure(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
