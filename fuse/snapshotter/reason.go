//go:build linux

package snapshotter

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The classes of reasons why a layer is ordinary.
const (
	ReasonUnlabelled = "unlabelled" // nobody said which image it belongs to
	ReasonOpen       = "open"       // the image cannot be shown lazily
	ReasonPatience   = "patience"   // that it can did not turn out in time
	ReasonMismatch   = "mismatch"   // it is none of that image's layers, or its parent is not
	ReasonHold       = "hold"       // the image could not be held
)

// Reason is why a layer is ordinary.
type Reason struct {
	Class string `json:"class"`
	Text  string `json:"text"`
	Image string `json:"image,omitempty"` // its reference
}

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
			l := Layer{Chain: cmp.Or(one.Labels[labelTarget], chainOf(one.Name)), Snapshot: one.Name, Created: one.Created}
			switch {
			case one.Remote != nil:
				image, err := t.image(one.Remote.Image)
				if err != nil {
					return err
				}
				l.Lazy, l.Image, l.Depth = true, image.Reference, one.Remote.Depth
			case one.Why != nil:
				l.Image, l.Class, l.Reason = one.Why.Image, one.Why.Class, one.Why.Text
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

type metrics struct {
	remote   prometheus.Counter
	ordinary *prometheus.CounterVec
	holdErr  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		remote: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_snapshotter_remote_layers_total", Help: "Layers that containerd needed not download."}),
		ordinary: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_snapshotter_ordinary_layers_total", Help: "Layers that containerd unpacked, by why they are not lazy."}, []string{"reason"}),
		holdErr: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_snapshotter_hold_errors_total", Help: "Views of images that could not be held or let go."}),
	}
	reg.MustRegister(m.remote, m.ordinary, m.holdErr)
	for _, class := range []string{ReasonUnlabelled, ReasonOpen, ReasonPatience, ReasonMismatch, ReasonHold} {
		m.ordinary.WithLabelValues(class)
	}
	return m
}
