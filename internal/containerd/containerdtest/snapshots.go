package containerdtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"maps"

	"github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/shoal-project/shoal/chunk"
)

type snapshotter struct {
	snapshots.UnimplementedSnapshotsServer
	*Engine
}

func (s *snapshotter) Stat(_ context.Context, r *snapshots.StatSnapshotRequest) (*snapshots.StatSnapshotResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.snapshots[r.GetKey()]
	if one == nil {
		return nil, status.Error(codes.NotFound, "not found")
	}
	kind := snapshots.Kind_COMMITTED
	if one.active {
		kind = snapshots.Kind_ACTIVE
	}
	return &snapshots.StatSnapshotResponse{Info: &snapshots.Info{Name: r.GetKey(), Kind: kind}}, nil
}

func (s *snapshotter) Prepare(_ context.Context, r *snapshots.PrepareSnapshotRequest) (*snapshots.PrepareSnapshotResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, status.Error(codes.Unavailable, "connection error: dial unix")
	}
	s.asked = append(s.asked, maps.Clone(r.GetLabels()))
	if below := s.snapshots[r.GetParent()]; r.GetParent() != "" && (below == nil || below.active) {
		return nil, status.Errorf(codes.NotFound, "parent %s: not found", r.GetParent())
	}
	if r.GetSnapshotter() == "shoal" && s.lazy != nil && s.lazy(r.GetLabels()) {
		s.snapshots[r.GetLabels()["containerd.io/snapshot.ref"]] = &snapshot{parent: r.GetParent()}
		return nil, status.Error(codes.AlreadyExists, "target snapshot: already exists")
	}
	s.snapshots[r.GetKey()] = &snapshot{parent: r.GetParent(), active: true}
	return &snapshots.PrepareSnapshotResponse{Mounts: []*types.Mount{{Type: "bind", Source: "/"}}}, nil
}

func (s *snapshotter) Commit(_ context.Context, r *snapshots.CommitSnapshotRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshots[r.GetName()] != nil {
		return nil, status.Error(codes.AlreadyExists, "already exists")
	}
	s.snapshots[r.GetName()] = &snapshot{parent: s.snapshots[r.GetKey()].parent}
	delete(s.snapshots, r.GetKey())
	return &emptypb.Empty{}, nil
}

func (s *snapshotter) Remove(_ context.Context, r *snapshots.RemoveSnapshotRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.snapshots, r.GetKey())
	return &emptypb.Empty{}, nil
}

type diffs struct {
	diff.UnimplementedDiffServer
	*Engine
}

// Apply tells the digest of a gzip layer's plain bytes, and unpacks nothing.
func (s *diffs) Apply(_ context.Context, r *diff.ApplyRequest) (*diff.ApplyResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobs[r.GetDiff().GetDigest()]
	if b == nil {
		return nil, status.Errorf(codes.NotFound, "content %s: not found", r.GetDiff().GetDigest())
	}
	z, err := gzip.NewReader(bytes.NewReader(b.data))
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	return &diff.ApplyResponse{Applied: &types.Descriptor{Digest: chunk.SumBytes(plain).String()}}, nil
}
