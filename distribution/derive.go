package distribution

import (
	"context"

	"github.com/shoal-project/shoal/chunk"
)

// MaxLayers bounds the layers of one image.
const MaxLayers = 1024

// MaxBinding bounds the statement that a tree is an image's: 32 bytes a layer
// and a few more (docs/FORMAT.md).
const MaxBinding = 64 << 10

// Layer is a layer as an image's manifest and config tell it.
type Layer struct {
	Blob   chunk.Digest `cbor:"1,keyasint"`
	Size   int64        `cbor:"2,keyasint"` // of the blob
	DiffID chunk.Digest `cbor:"3,keyasint"` // of its plain bytes
}

// View is what a tree is to show.
type View struct {
	Layers []Layer // the lowest first
	// Lower asks for the last layer alone, as a lower directory of overlayfs over
	// those of the others.
	Lower bool
}

// Deriver makes the tree that shows a view of an image, whose layers are fetched
// on the word of src. Calls for one view share the work. It tells how far it is
// in bytes of blobs, one call at a time, and returns a layer.Binding in binary
// form.
type Deriver func(ctx context.Context, src Source, view View, tell func(done, total int64)) (binding []byte, err error)

// How a peer has the tree of an image derived.
type (
	// Derive asks the supernode for an image's tree. ID is the peer's own number
	// for the request; the answers carry it.
	Derive struct {
		ID            uint64  `cbor:"1,keyasint"`
		Registry      string  `cbor:"2,keyasint"`
		Repository    string  `cbor:"3,keyasint"`
		Authorization string  `cbor:"4,keyasint,omitempty"`
		Layers        []Layer `cbor:"5,keyasint"`           // as in View
		Lower         bool    `cbor:"6,keyasint,omitempty"` // as in View
	}
	// Deriving tells how far that is, in bytes of blobs.
	Deriving struct {
		ID    uint64 `cbor:"1,keyasint"`
		Done  int64  `cbor:"2,keyasint"`
		Total int64  `cbor:"3,keyasint"`
	}
	// Derived ends it: with the signed statement which tree the image has, or
	// with the reason why there is none.
	Derived struct {
		ID      uint64 `cbor:"1,keyasint"`
		Binding []byte `cbor:"2,keyasint,omitempty"` // layer.Binding in binary form
		Status  int    `cbor:"3,keyasint,omitempty"` // the origin's; 0 if there was none
		Message string `cbor:"4,keyasint,omitempty"`
	}
)

// Validate checks the bounds.
func (m *Derive) Validate() error {
	if len(m.Registry) > 255 || len(m.Repository) > 255 || m.Registry == "" || m.Repository == "" || len(m.Authorization) > MaxCredential {
		return bound(false, "derive for %.80q", m.Registry+"/"+m.Repository)
	}
	if len(m.Layers) > MaxLayers {
		return bound(false, "%d layers", len(m.Layers))
	}
	if m.Lower && len(m.Layers) == 0 {
		return bound(false, "the last of no layers")
	}
	for _, l := range m.Layers {
		if err := validSize(l.Size); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the bounds.
func (m *Deriving) Validate() error {
	return bound(m.Done >= 0 && m.Total >= 0, "progress of %d of %d bytes", m.Done, m.Total)
}

// Validate checks the bounds.
func (m *Derived) Validate() error {
	return bound(len(m.Binding) <= MaxBinding && len(m.Message) <= MaxText && m.Status >= 0 && m.Status < 1000, "derived")
}
