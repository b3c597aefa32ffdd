//go:build linux

package cri

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Client is a connection to a container engine. Close it.
type Client struct {
	conn    *grpc.ClientConn
	images  runtime.ImageServiceClient
	runtime runtime.RuntimeServiceClient
}

// Dial makes a client of the engine behind a Unix socket. It connects with the
// first request.
func Dial(socket string) (*Client, error) {
	again := backoff.Config{BaseDelay: poll, Multiplier: 2, MaxDelay: 100 * time.Millisecond} // it may only be starting
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again}))
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", socket, err)
	}
	return &Client{conn: conn, images: runtime.NewImageServiceClient(conn), runtime: runtime.NewRuntimeServiceClient(conn)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Ready is an error until the engine runs pods.
func (c *Client) Ready(ctx context.Context) error {
	answer, err := c.runtime.Status(ctx, &runtime.StatusRequest{})
	if err != nil {
		return fmt.Errorf("CRI Status: %w", err)
	}
	for _, condition := range answer.GetStatus().GetConditions() {
		if condition.GetType() == runtime.RuntimeReady && !condition.GetStatus() {
			return fmt.Errorf("the engine is not ready: %s", condition.GetMessage())
		}
	}
	return nil
}

// Pull pulls an image and returns its ID.
func (c *Client) Pull(ctx context.Context, image string) (string, error) {
	answer, err := c.images.PullImage(ctx, &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}})
	if err != nil {
		return "", fmt.Errorf("CRI PullImage %s: %w", image, err)
	}
	return answer.GetImageRef(), nil
}

// Remove removes an image. It need not be there.
func (c *Client) Remove(ctx context.Context, image string) error {
	_, err := c.images.RemoveImage(ctx, &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: image}})
	if err != nil {
		return fmt.Errorf("CRI RemoveImage %s: %w", image, err)
	}
	return nil
}

// Images are the IDs of all images.
func (c *Client) Images(ctx context.Context) ([]string, error) {
	answer, err := c.images.ListImages(ctx, &runtime.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("CRI ListImages: %w", err)
	}
	var ids []string
	for _, image := range answer.GetImages() {
		ids = append(ids, image.GetId())
	}
	return ids, nil
}
