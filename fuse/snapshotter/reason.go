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

// unlabelledText says what to do about a layer of which nobody said whose it is.
const unlabelledText = "containerd did not say which image it belongs to; " +
	"set disable_snapshot_annotations = false (or enable_remote_snapshot_annotations = \"true\") in its configuration, or use `lazyfs pull`"
