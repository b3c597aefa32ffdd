//go:build linux

package snapshotter

import (
	"fmt"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The kinds of snapshots, as filters and the database write them.
const (
	kindActive    = "active"
	kindView      = "view"
	kindCommitted = "committed"
)

// snapshot is what is recorded of one.
type snapshot struct {
	ID      uint64            `json:"id"`
	Name    string            `json:"-"` // its key in the database
	Kind    string            `json:"kind"`
	Parent  string            `json:"parent,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created"`
	Updated time.Time         `json:"updated"`
	Size    int64             `json:"size,omitempty"` // of an ordinary committed one
	Inodes  int64             `json:"inodes,omitempty"`
	Remote  *remote           `json:"remote,omitempty"` // nil: it is ordinary
	Why     *Reason           `json:"why,omitempty"`    // it is an ordinary layer for this reason
}

// remote says what a remote snapshot shows: the first Depth layers of an image.
type remote struct {
	Image imageKey `json:"image"`
	Depth int      `json:"depth"`
	Top   bool     `json:"top"` // all of the image's layers: the view is held from the start
}

// user is the name under which a remote snapshot holds its view.
func (s *snapshot) user() string {
	return fmt.Sprintf("%s%d", userPrefix, s.ID)
}

// userPrefix tells our users from others of the lazy file system.
const userPrefix = "snapshot/"

func (s *snapshot) info() *api.Info {
	kinds := map[string]api.Kind{kindActive: api.Kind_ACTIVE, kindView: api.Kind_VIEW, kindCommitted: api.Kind_COMMITTED}
	return &api.Info{
		Name: s.Name, Parent: s.Parent, Kind: kinds[s.Kind], Labels: s.Labels,
		CreatedAt: timestamppb.New(s.Created), UpdatedAt: timestamppb.New(s.Updated),
	}
}

// field is what filters compare.
func (s *snapshot) field(path []string) (string, bool) {
	switch {
	case len(path) == 0:
		return "", false
	case path[0] == "labels":
		value, ok := s.Labels[join(path[1:])]
		return value, ok
	case path[0] == "kind":
		return s.Kind, true
	case path[0] == "name":
		return s.Name, true
	case path[0] == "parent":
		return s.Parent, true
	}
	return "", false
}
