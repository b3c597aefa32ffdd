package containerdtest

import (
	"context"

	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

type imageRecords struct {
	images.UnimplementedImagesServer
	*Engine
}

func (s *imageRecords) Get(_ context.Context, r *images.GetImageRequest) (*images.GetImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, ok := s.images[r.GetName()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "image %q: not found", r.GetName())
	}
	return &images.GetImageResponse{Image: &images.Image{Name: r.GetName(), Target: &types.Descriptor{Digest: target}}}, nil
}

func (s *imageRecords) Create(_ context.Context, r *images.CreateImageRequest) (*images.CreateImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.images[r.GetImage().GetName()]; ok {
		return nil, status.Errorf(codes.AlreadyExists, "image %q: already exists", r.GetImage().GetName())
	}
	s.images[r.GetImage().GetName()] = r.GetImage().GetTarget().GetDigest()
	return &images.CreateImageResponse{Image: r.GetImage()}, nil
}

func (s *imageRecords) Update(_ context.Context, r *images.UpdateImageRequest) (*images.UpdateImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[r.GetImage().GetName()] = r.GetImage().GetTarget().GetDigest()
	return &images.UpdateImageResponse{Image: r.GetImage()}, nil
}

type leaseRecords struct {
	leases.UnimplementedLeasesServer
	*Engine
}

func (s *leaseRecords) Create(_ context.Context, r *leases.CreateRequest) (*leases.CreateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[r.GetID()] = false
	return &leases.CreateResponse{Lease: &leases.Lease{ID: r.GetID(), Labels: r.GetLabels()}}, nil
}

func (s *leaseRecords) Delete(_ context.Context, r *leases.DeleteRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.leases[r.GetID()]; !ok {
		return nil, status.Error(codes.NotFound, "not found")
	}
	s.leases[r.GetID()] = true
	return &emptypb.Empty{}, nil
}

func (s *leaseRecords) AddResource(_ context.Context, r *leases.AddResourceRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, r.GetResource().GetType()+" "+r.GetResource().GetID())
	return &emptypb.Empty{}, nil
}

type plugins struct {
	introspection.UnimplementedIntrospectionServer
	*Engine
}

func (s *plugins) Plugins(context.Context, *introspection.PluginsRequest) (*introspection.PluginsResponse, error) {
	return &introspection.PluginsResponse{Plugins: []*introspection.Plugin{
		{Type: "io.containerd.snapshotter.v1", ID: "overlayfs", Exports: map[string]string{"root": "/"}},
		{Type: "io.containerd.snapshotter.v1", ID: "shoal", Exports: map[string]string{"address": "/s"}},
	}}, nil
}
