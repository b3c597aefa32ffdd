//go:build linux

package snapshotter

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/protobuf/types/known/emptypb"
)

// service is the gRPC side. The snapshotter's name in requests is containerd's
// word for us, and not looked at.
type service struct {
	api.UnimplementedSnapshotsServer
	s *Snapshotter
}

func (v service) Prepare(ctx context.Context, r *api.PrepareSnapshotRequest) (*api.PrepareSnapshotResponse, error) {
	mounts, err := v.s.prepare(ctx, kindActive, r.GetKey(), r.GetParent(), r.GetLabels())
	if err != nil {
		return nil, toRPC(err)
	}
	return &api.PrepareSnapshotResponse{Mounts: mounts}, nil
}

func (v service) View(ctx context.Context, r *api.ViewSnapshotRequest) (*api.ViewSnapshotResponse, error) {
	mounts, err := v.s.prepare(ctx, kindView, r.GetKey(), r.GetParent(), r.GetLabels())
	if err != nil {
		return nil, toRPC(err)
	}
	return &api.ViewSnapshotResponse{Mounts: mounts}, nil
}

func (v service) Mounts(ctx context.Context, r *api.MountsRequest) (*api.MountsResponse, error) {
	mounts, err := v.s.mounts(ctx, r.GetKey())
	if err != nil {
		return nil, toRPC(err)
	}
	return &api.MountsResponse{Mounts: mounts}, nil
}

func (v service) Commit(ctx context.Context, r *api.CommitSnapshotRequest) (*emptypb.Empty, error) {
	err := v.s.commit(ctx, r.GetName(), r.GetKey(), r.GetParent(), r.GetLabels())
	return &emptypb.Empty{}, toRPC(err)
}

func (v service) Remove(_ context.Context, r *api.RemoveSnapshotRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, toRPC(v.s.remove(r.GetKey()))
}

func (v service) Stat(_ context.Context, r *api.StatSnapshotRequest) (*api.StatSnapshotResponse, error) {
	var info *api.Info
	err := v.s.store.view(func(t tx) error {
		one, err := t.get(r.GetKey())
		if err == nil {
			info = one.info()
		}
		return err
	})
	return &api.StatSnapshotResponse{Info: info}, toRPC(err)
}

func (v service) Update(_ context.Context, r *api.UpdateSnapshotRequest) (*api.UpdateSnapshotResponse, error) {
	var info *api.Info
	err := v.s.store.update(func(t tx) error {
		one, err := t.get(r.GetInfo().GetName())
		if err != nil {
			return err
		}
		if one.Labels, err = updated(one.Labels, r.GetInfo().GetLabels(), r.GetUpdateMask().GetPaths()); err != nil {
			return err
		}
		one.Updated = time.Now().UTC()
		info = one.info()
		return t.put(one)
	})
	return &api.UpdateSnapshotResponse{Info: info}, toRPC(err)
}

// updated are labels after an update of the fields that paths name; without
// paths, of all. A label that becomes empty goes.
func updated(old, given map[string]string, paths []string) (map[string]string, error) {
	labels := maps.Clone(old)
	if labels == nil {
		labels = map[string]string{}
	}
	if len(paths) == 0 {
		paths = []string{"labels"}
	}
	for _, path := range paths {
		name, one := strings.CutPrefix(path, "labels.")
		switch {
		case one:
			labels[name] = given[name]
		case path == "labels":
			labels = maps.Clone(given)
		default:
			return nil, fmt.Errorf("only labels of a snapshot can be changed, not %q: %w", path, errInvalid)
		}
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels, nil
}

// listAtOnce is how many snapshots one message of a list has.
const listAtOnce = 100

func (v service) List(r *api.ListSnapshotsRequest, stream api.Snapshots_ListServer) error {
	filters, err := parseFilters(r.GetFilters())
	if err != nil {
		return toRPC(err)
	}
	var all []*api.Info
	err = v.s.store.view(func(t tx) error {
		return t.each(func(one *snapshot) error {
			if matchesAny(filters, one) {
				all = append(all, one.info())
			}
			return nil
		})
	})
	for err == nil && len(all) > 0 {
		n := min(len(all), listAtOnce)
		err = stream.Send(&api.ListSnapshotsResponse{Info: all[:n]})
		all = all[n:]
	}
	return toRPC(err)
}

func (v service) Usage(ctx context.Context, r *api.UsageRequest) (*api.UsageResponse, error) {
	bytes, inodes, err := v.s.usage(ctx, r.GetKey())
	return &api.UsageResponse{Size: bytes, Inodes: inodes}, toRPC(err)
}

// usage is what a snapshot itself takes, without its parents.
func (s *Snapshotter) usage(ctx context.Context, key string) (bytes, inodes int64, err error) {
	var one *snapshot
	if err := s.store.view(func(t tx) (err error) {
		one, err = t.get(key)
		return err
	}); err != nil {
		return 0, 0, err
	}
	switch {
	case one.Remote != nil:
		return s.images.Usage(one.user())
	case one.Kind == kindActive:
		return diskUsage(ctx, s.upper(one.ID))
	}
	return one.Size, one.Inodes, nil
}

func (v service) Cleanup(context.Context, *api.CleanupRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, toRPC(v.s.cleanup())
}
