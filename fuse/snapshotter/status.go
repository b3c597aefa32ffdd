//go:build linux

package snapshotter

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Layer is what Status says of a layer's snapshot.
type Layer struct {
	Chain    string    `json:"chain"`    // its chain ID
	Snapshot string    `json:"snapshot"` // its name here
	Image    string    `json:"image,omitempty"`
	Depth    int       `json:"depth,omitempty"` // a lazy one's place in its image, from 1
	Lazy     bool      `json:"lazy"`
	Class    string    `json:"class,omitempty"` // why it is not lazy: one of the Reason constants
	Reason   string    `json:"reason,omitempty"`
	Created  time.Time `json:"created"`
}

// Status tells of the snapshots that are layers of images, the oldest first.
func (s *Snapshotter) Status() ([]Layer, error) {
	layers := []Layer{}
	err := s.store.view(func(t tx) error {
		return t.each(func(one *snapshot) error {
			l := Layer{Chain: cmp.Or(one.Labels[LabelTarget], chainOf(one.Name)), Snapshot: one.Name, Created: one.Created}
			switch {
			case one.Remote != nil:
				image, err := t.image(one.Remote.Image)
				if err != nil {
					return err
				}
				l.Lazy, l.Image, l.Depth = true, image.Reference, one.Remote.Depth
			case one.Why != nil:
				l.Image, l.Class, l.Reason = one.Why.Image, one.Why.Class, one.Why.Text
			case one.Kind == kindCommitted && strings.HasPrefix(l.Chain, "sha256:"):
				// ctr and nerdctl do not even say of what they prepare that it is a layer.
				l.Class, l.Reason = ReasonUnlabelled, unlabelledText
			default:
				return nil
			}
			layers = append(layers, l)
			return nil
		})
	})
	slices.SortStableFunc(layers, func(a, b Layer) int { return a.Created.Compare(b.Created) })
	return layers, err
}
