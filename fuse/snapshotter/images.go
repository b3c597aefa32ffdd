package snapshotter

import (
	"context"

	"github.com/shoal-project/shoal/chunk"
)

// Image is an image that the lazy file system can show.
type Image struct {
	Reference string         // as it was asked for
	Manifest  chunk.Digest   // of the platform's image
	DiffIDs   []chunk.Digest // of its layers, the lowest first
	// Known is what the lazy file system wants to be given again with the image,
	// in a form of its own.
	Known []byte
}

// Root is what an image's root directory is like.
type Root struct {
	Mode     uint32 // permissions, with the sticky and set-id bits
	UID, GID uint32
}

// Images is the lazy file system, as far as snapshots need it. All methods may
// be called from many goroutines at once. What is held is durable: it outlives
// the process, until Release.
type Images interface {
	// Open has an image's tree brought to this node, deriving it if nobody did, and
	// says what it is. The error says in words why it cannot be lazy. Nothing is
	// held by it. tell hears that it goes on, about how many bytes of how many.
	Open(ctx context.Context, reference, platform string, tell func(done, total int64)) (*Image, error)
	// Hold keeps the view of the first depth layers of an image for a user, and has
	// its bytes brought in the background. It asks the peer only if that view is not
	// held already, and no registry. Held once more by the same user, it takes the
	// place of what that held.
	Hold(ctx context.Context, user string, image *Image, depth int) error
	// Lower is a directory that shows what the user holds, to be the lower directory
	// of overlays: the kernel's own EROFS once all is here, else the FUSE view. It
	// stays until Release.
	Lower(ctx context.Context, user string) (string, error)
	// Root is what the root directory of the user's view is like: what a container
	// changes lies in a directory that takes its place.
	Root(user string) (Root, error)
	// Usage is what the user's view takes on this node's disk. Bytes that several
	// views have count for one of them alone, so that a sum over all is true.
	Usage(user string) (bytes, inodes int64, err error)
	// Release ends Hold. Bytes that nothing else of this node holds are removed.
	// An unknown user is no error.
	Release(ctx context.Context, user string) error
	// Users lists who holds something, for who starts and has a list of its own.
	Users() []string
}
