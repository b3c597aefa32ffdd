package distribution

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/shoal-project/shoal/chunk"
)

// Source says where an object can be had from an origin, and on whose word.
type Source struct {
	// Registry is the origin's canonical name: "docker.io" for Docker Hub under
	// all its names, otherwise the host with its port if any.
	Registry string
	// Repository is the full path: "library/debian".
	Repository string
	Digest     chunk.Digest
	// Manifest says that the object lies under /manifests/, not /blobs/.
	Manifest bool
	// Derived says that no origin has the object: a supernode made it from the
	// repository's layers. It comes from nodes, or not at all.
	Derived bool
	// Size in bytes, where it is known already; 0 where not. Open then asks the
	// origin for nothing, and what is read later must fit it. So a node that
	// needs only some later part does not set the first one moving.
	Size int64
	// Authorization is the caller's own header value ("Bearer …", "Basic …"),
	// or empty. It is a secret: never logged, stored or shown.
	Authorization string
}

func (s Source) String() string {
	return fmt.Sprintf("%s/%s@%s", s.Registry, s.Repository, s.Digest)
}

// LogValue keeps the Authorization out of logs.
func (s Source) LogValue() slog.Value { return slog.StringValue(s.String()) }

// NodeCredentials, as an Authorization, makes a call the node's own: the origin
// uses the credentials that the node was configured with (preheating, peer
// pull). It never comes from the network: the registry proxy and the
// coordinator refuse it from outside.
const NodeCredentials = "node"

// Origin is a registry as a source of objects. Implementations retry, back off
// and resume by themselves within the context; what they return is final.
type Origin interface {
	// Stat asks for the object's size without fetching a byte of it.
	Stat(ctx context.Context, src Source) (size int64, err error)
	// Open prepares reading. The first bytes may already be on their way.
	Open(ctx context.Context, src Source) (Blob, error)
}

// Blob is one object at its origin, safe for concurrent use.
type Blob interface {
	// Size in bytes.
	Size() int64
	// Ranged tells whether several parts may be read side by side. If not, Read
	// works only from where the one stream stands, or starts it again.
	Ranged() bool
	// Read streams exactly n bytes from off: the reader ends with io.EOF after
	// the last, with io.ErrUnexpectedEOF or another error before it.
	Read(ctx context.Context, off, n int64) (io.ReadCloser, error)
	Close() error
}

// Request is one call of the distribution API that is passed on to an origin.
type Request struct {
	Method     string // GET or HEAD
	Registry   string // as in Source
	Repository string
	// Path follows /v2/<repository>/: "manifests/latest", "tags/list".
	Path          string
	Query         url.Values
	Header        http.Header // Accept, If-None-Match, Range; never Authorization
	Authorization string
}

// Forwarder passes requests on. Any HTTP response is an answer, also 401 with
// the origin's challenge; the error is for when there was none.
type Forwarder interface {
	Forward(ctx context.Context, r Request) (*http.Response, error)
}

// OriginError is an origin's refusal, in a form that can be passed on.
type OriginError struct {
	Status    int      // HTTP status; 0 when there was no answer
	Challenge []string // WWW-Authenticate values of a 401
	Code      string   // OCI error code, if the body had one
	Message   string   // the origin's words or ours, one line, bounded
	Err       error    // the cause, if any
}

func (e *OriginError) Error() string {
	if e.Status == 0 {
		return "origin: " + e.Message
	}
	return fmt.Sprintf("origin answered %d: %s", e.Status, e.Message)
}

func (e *OriginError) Unwrap() error { return e.Err }
