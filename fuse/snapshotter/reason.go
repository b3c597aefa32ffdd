//go:build linux

package snapshotter

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
