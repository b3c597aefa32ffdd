//go:build linux

package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// poll is how often it is looked whether something has come; the engine is asked
// whether a container has ended a few times more rarely.
const poll = 5 * time.Millisecond

// Container is a container of a pod.
type Container struct {
	ID     string
	client *Client
	log    string
}

// Start starts it. It can be started once.
func (c *Container) Start(ctx context.Context) error {
	_, err := c.client.runtime.StartContainer(ctx, &runtime.StartContainerRequest{ContainerId: c.ID})
	if err != nil {
		return fmt.Errorf("CRI StartContainer: %w", err)
	}
	return nil
}

// Wait waits for its end and returns its exit code.
func (c *Container) Wait(ctx context.Context) (int, error) {
	for {
		answer, err := c.client.runtime.ContainerStatus(ctx, &runtime.ContainerStatusRequest{ContainerId: c.ID})
		if err != nil {
			return 0, fmt.Errorf("CRI ContainerStatus: %w", err)
		}
		if s := answer.GetStatus(); s.GetState() == runtime.ContainerState_CONTAINER_EXITED {
			return int(s.GetExitCode()), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for a container's end: %w", ctx.Err())
		case <-time.After(4 * poll):
		}
	}
}

// First waits for the first line that the container prints, and does not wait for
// its end.
func (c *Container) First(ctx context.Context) (Line, error) {
	for {
		lines, err := c.Log()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return Line{}, err
		}
		if len(lines) > 0 {
			return lines[0], nil
		}
		select {
		case <-ctx.Done():
			return Line{}, fmt.Errorf("waiting for what a container prints: %w", ctx.Err())
		case <-time.After(poll):
		}
	}
}

// Exec runs one more program in the container to its end and returns what it
// printed.
func (c *Container) Exec(ctx context.Context, command ...string) (string, error) {
	answer, err := c.client.runtime.ExecSync(ctx, &runtime.ExecSyncRequest{ContainerId: c.ID, Cmd: command})
	if err != nil {
		return "", fmt.Errorf("CRI ExecSync: %w", err)
	}
	if code := answer.GetExitCode(); code != 0 {
		return string(answer.GetStdout()), fmt.Errorf("%s ended with %d: %s", command[0], code, answer.GetStderr())
	}
	return string(answer.GetStdout()), nil
}

// Remove stops the container, killing it at once, and removes it.
func (c *Container) Remove(ctx context.Context) error {
	_, err := c.client.runtime.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: c.ID})
	_, removed := c.client.runtime.RemoveContainer(ctx, &runtime.RemoveContainerRequest{ContainerId: c.ID})
	if err := errors.Join(err, removed); err != nil {
		return fmt.Errorf("removing a container: %w", err)
	}
	return nil
}
