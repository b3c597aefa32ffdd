package pull

import "github.com/shoal-project/shoal/chunk"

// The sources that bytes come from.
const (
	FromStore     = "store" // this node's own, from before
	FromOrigin    = "origin"
	FromSupernode = "supernode"
	FromPeer      = "peer"
)

// Event is one piece of news of a pull. On the wire it is one line of JSON.
type Event struct {
	// Image is the reference as it was given.
	Image string `json:"image"`
	// Digest is what it resolved to.
	Digest *chunk.Digest `json:"digest,omitempty"`
	// Objects are those that changed since the last event.
	Objects []Object `json:"objects,omitempty"`
	// Notice is a line for people.
	Notice string `json:"notice,omitempty"`
	// Done ends an image; Error says why it could not be had.
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

// Object is how far one object is.
type Object struct {
	Digest chunk.Digest `json:"digest"`
	Kind   string       `json:"kind"` // manifest, config or layer
	Size   int64        `json:"size"`
	// Bytes by source, those from the store included.
	Bytes map[string]int64 `json:"bytes,omitempty"`
	Done  bool             `json:"done,omitempty"`
}

// Present is how many of the object's bytes are here.
func (o Object) Present() int64 {
	var n int64
	for _, bytes := range o.Bytes {
		n += bytes
	}
	return n
}

// Request is what to pull.
type Request struct {
	Image string `json:"image"`
	// Platforms are os/arch[/variant]; "all" is every one. Empty: this machine's.
	Platforms []string `json:"platforms,omitempty"`
	// Lazy has the image's tree derived as well, so that it starts lazily at once
	// wherever it is mounted. It takes one platform.
	Lazy bool `json:"lazy,omitempty"`
	// Authorization is the header value for the image's registry. Empty: the
	// credentials that the daemon was configured with, or none.
	Authorization string `json:"authorization,omitempty"`
}
