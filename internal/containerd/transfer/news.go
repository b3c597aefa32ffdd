//go:build linux

package transfer

import "github.com/shoal-project/shoal/chunk"

// News is one piece of news of an image; with --json it is one line.
type News struct {
	// Image is the record's name in containerd.
	Image string `json:"image"`
	// Digest is what the name stands for.
	Digest *chunk.Digest `json:"digest,omitempty"`
	// Stage says what is being done, Done and Total how many bytes of it.
	Stage string `json:"stage,omitempty"`
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	// Layer is one that is ready, or a blob that was brought.
	Layer *Layer `json:"layer,omitempty"`
	// Complete ends an image.
	Complete bool `json:"complete,omitempty"`
}

// The stages beside those of opening an image (package nodeapi).
const (
	StageFetch  = "fetch"  // blobs come to the peer, and from it to containerd
	StageUnpack = "unpack" // containerd unpacks a layer
)

// What became of a layer.
const (
	Lazy     = "lazy"     // it is shown without being here
	Present  = "present"  // it was here before
	Unpacked = "unpacked" // it was fetched and unpacked
	Fetched  = "fetched"  // its blob was fetched
)

// Layer is a layer that is ready. Reason says why it is not lazy, where it could
// have been.
type Layer struct {
	Digest chunk.Digest `json:"digest"`
	Size   int64        `json:"size"`
	State  string       `json:"state"`
	Reason string       `json:"reason,omitempty"`
}
