package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"

	"github.com/shoal-project/shoal/chunk"
)

// Snapshotter tells whether containerd has a snapshotter, and whether it is
// another process behind a socket. Only such a one can have layers that were
// never unpacked.
func (c *Client) Snapshotter(ctx context.Context, name string) (proxied bool, err error) {
	answer, err := c.plugins.Plugins(ctx, &introspection.PluginsRequest{Filters: []string{"type==io.containerd.snapshotter.v1"}})
	if err != nil {
		return false, fmt.Errorf("asking for the snapshotter %s: %w", name, err)
	}
	var names []string
	for _, p := range answer.GetPlugins() {
		if p.GetInitErr() != nil {
			continue
		}
		if p.GetID() == name {
			return p.GetExports()["address"] != "", nil
		}
		names = append(names, p.GetID())
	}
	slices.Sort(names)
	return false, fmt.Errorf("containerd at %s has no snapshotter %q, but %q; add it to proxy_plugins of containerd's configuration (docs/OPERATIONS.md), or name another with --snapshotter", c.address, name, names)
}

// Committed tells whether a snapshotter has a layer's snapshot already; then the
// context's lease keeps it.
func (c *Client) Committed(ctx context.Context, snapshotter, name string) (bool, error) {
	if err := c.keep(ctx, "snapshots/"+snapshotter, name); err != nil { // before the look, so that it cannot go after it
		return false, err
	}
	answer, err := c.snapshots.Stat(ctx, &snapshots.StatSnapshotRequest{Snapshotter: snapshotter, Key: name})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the snapshot %s: %w", name, err)
	}
	return answer.GetInfo().GetKind() == snapshots.Kind_COMMITTED, nil
}

// Unpacking is a snapshot that a layer is being unpacked into.
type Unpacking struct {
	client           *Client
	snapshotter, key string
	mounts           []*types.Mount
	committed        bool
}

// Prepare begins a layer's snapshot over its parent's. ErrExists says that the
// snapshotter made the finished one by itself, from the labels.
func (c *Client) Prepare(ctx context.Context, snapshotter, name, parent string, labels map[string]string) (*Unpacking, error) {
	key := unique("extract") + " " + name
	answer, err := c.snapshots.Prepare(ctx, &snapshots.PrepareSnapshotRequest{
		Snapshotter: snapshotter, Key: key, Parent: parent, Labels: labels,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the snapshot %s: %w", name, err)
	}
	return &Unpacking{client: c, snapshotter: snapshotter, key: key, mounts: answer.GetMounts()}, nil
}

// Unpack unpacks a layer that the content store has, and commits the snapshot
// under its name. The layer's plain bytes must have the digest diffID.
func (u *Unpacking) Unpack(ctx context.Context, layer Descriptor, diffID chunk.Digest, name string, labels map[string]string) error {
	answer, err := u.client.diff.Apply(ctx, &diff.ApplyRequest{Diff: layer.wire(), Mounts: u.mounts})
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", layer.Digest, err)
	}
	if got := answer.GetApplied().GetDigest(); got != diffID.String() {
		return fmt.Errorf("unpacking %s: its plain bytes are %s, and its image's config says %s; have the image built again", layer.Digest, got, diffID)
	}
	_, err = u.client.snapshots.Commit(ctx, &snapshots.CommitSnapshotRequest{
		Snapshotter: u.snapshotter, Name: name, Key: u.key, Labels: labels,
	})
	if errors.Is(err, ErrExists) { // somebody else unpacked the same
		return nil
	}
	if err != nil {
		return fmt.Errorf("committing the snapshot %s: %w", name, err)
	}
	u.committed = true
	return nil
}

// Close removes a snapshot that was not committed.
func (u *Unpacking) Close(ctx context.Context) error {
	if u.committed {
		return nil
	}
	_, err := u.client.snapshots.Remove(ctx, &snapshots.RemoveSnapshotRequest{Snapshotter: u.snapshotter, Key: u.key})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("removing the snapshot %s: %w", u.key, err)
	}
	return nil
}
