package containerdtest

import (
	"context"
	"maps"
	"strings"

	"github.com/containerd/containerd/api/services/content/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-project/shoal/chunk"
)

type contents struct {
	content.UnimplementedContentServer
	*Engine
}

func (s *contents) Info(_ context.Context, r *content.InfoRequest) (*content.InfoResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobs[r.GetDigest()]
	if b == nil {
		return nil, status.Errorf(codes.NotFound, "content %s: not found", r.GetDigest())
	}
	return &content.InfoResponse{Info: &content.Info{Digest: r.GetDigest(), Size: int64(len(b.data)), Labels: maps.Clone(b.labels)}}, nil
}

func (s *contents) Update(_ context.Context, r *content.UpdateRequest) (*content.UpdateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobs[r.GetInfo().GetDigest()]
	if b == nil {
		return nil, status.Error(codes.NotFound, "not found")
	}
	labels := maps.Clone(b.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, path := range r.GetUpdateMask().GetPaths() {
		key, ok := strings.CutPrefix(path, "labels.")
		if !ok {
			return nil, status.Errorf(codes.InvalidArgument, "cannot update %s", path)
		}
		labels[key] = r.GetInfo().GetLabels()[key]
	}
	b.labels = labels
	return &content.UpdateResponse{}, nil
}

func (s *contents) Read(r *content.ReadContentRequest, stream content.Content_ReadServer) error {
	s.mu.Lock()
	b := s.blobs[r.GetDigest()]
	s.mu.Unlock()
	if b == nil {
		return status.Error(codes.NotFound, "not found")
	}
	half := len(b.data) / 2
	for _, part := range [][]byte{b.data[:half], b.data[half:]} {
		if err := stream.Send(&content.ReadContentResponse{Data: part}); err != nil {
			return err
		}
	}
	return nil
}

// Write keeps the lock of one blob while the stream lasts.
func (s *contents) Write(stream content.Content_WriteServer) error {
	var held *ingest
	defer func() {
		if held != nil {
			s.mu.Lock()
			held.locked = false
			s.mu.Unlock()
		}
	}()
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil // the client has left, and what it wrote stays
		}
		answer, err := s.step(&held, r)
		if err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
		if r.GetAction() == content.WriteAction_COMMIT {
			return nil
		}
	}
}

func (s *contents) step(held **ingest, r *content.WriteContentRequest) (*content.WriteContentResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs[r.GetExpected()] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "content %s: already exists", r.GetExpected())
	}
	in := s.ingest(r.GetRef())
	if *held == nil && in.locked {
		return nil, status.Errorf(codes.Unavailable, "ref %s locked for 1s (since now): unavailable", r.GetRef())
	}
	*held, in.locked = in, true
	if r.GetAction() != content.WriteAction_STAT {
		if r.GetOffset() != int64(len(in.data)) {
			return nil, status.Error(codes.OutOfRange, "not at the end")
		}
		in.data = append(in.data, r.GetData()...)
	}
	if s.breakAt > 0 && len(in.data) >= s.breakAt {
		s.breakAt = 0
		return nil, status.Error(codes.Aborted, "the disk went away")
	}
	if r.GetAction() == content.WriteAction_COMMIT {
		if chunk.SumBytes(in.data).String() != r.GetExpected() || int64(len(in.data)) != r.GetTotal() {
			delete(s.ingests, r.GetRef())
			return nil, status.Error(codes.FailedPrecondition, "unexpected commit digest")
		}
		s.blobs[r.GetExpected()] = &blob{in.data, r.GetLabels()}
		delete(s.ingests, r.GetRef())
	}
	return &content.WriteContentResponse{Action: r.GetAction(), Offset: int64(len(in.data))}, nil
}
