package nodeapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/admin"
)

// Server answers, over the peer's parts.
type Server struct {
	// Open brings an image's tree into the store.
	Open func(ctx context.Context, r OpenRequest, tell func(Progress)) (*Image, error)
	// Fetch makes bytes of an object present and tells which blocks are.
	Fetch func(ctx context.Context, r FetchRequest) (*chunk.Bitmap, error)
	// Find tells what an image is.
	Find func(ctx context.Context, r FindRequest) (*Found, error)
	// Blob brings a blob into the store, whole, and keeps it there until closed.
	Blob  func(ctx context.Context, r BlobRequest, tell func(done, total int64)) (distribution.Reader, error)
	Store chunk.Store
	Dir   string // of the store
	// Bytes tells an object's bytes by source: those of package pull, and FromDerived.
	Bytes func(chunk.Digest) map[string]int64
	// Room is the most bytes that the store can come to hold; -1 is no bound.
	Room func() int64
	// Why says what the bytes of a range wait for now; empty if nothing is known.
	Why func(object chunk.Digest, off, n int64) string
	// Freed, if set, is told of every object that letting go of a pin removed.
	Freed func(chunk.Digest)

	leaving leaving
}

// FromDerived is the source of what this node derived itself.
const FromDerived = "derived"

// Routes are for the Unix socket only.
func (s *Server) Routes() []admin.Route {
	local := func(pattern string, h http.HandlerFunc) admin.Route {
		return admin.Route{Pattern: pattern, Local: true, Handler: h}
	}
	return []admin.Route{
		local("POST /v1/remote/open", s.open),
		local("POST /v1/remote/fetch", s.fetch),
		local("POST /v1/remote/find", s.find),
		local("POST /v1/remote/blob", s.blob),
		local("PUT /v1/remote/pins/{name}", s.pin),
		local("DELETE /v1/remote/pins/{name}", s.unpin),
		local("GET /v1/remote/store", s.store),
		local("POST /v1/remote/bytes", s.bytes),
		local("POST /v1/remote/why", s.why),
	}
}

func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	var request OpenRequest
	if !read(w, r, maxAnswer, &request) { // an answer comes back as Known
		return
	}
	say := admin.SayLines[event](w)
	image, err := s.Open(r.Context(), request, func(p Progress) { say(event{Progress: &p}) })
	if err != nil {
		say(event{Error: err.Error()})
		return
	}
	say(event{Image: image})
}

func (s *Server) fetch(w http.ResponseWriter, r *http.Request) {
	var request FetchRequest
	if !read(w, r, maxRequest, &request) {
		return
	}
	if err := request.validate(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	have, err := s.Fetch(r.Context(), request)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	answer(w, fetched{have.Bytes()})
}

func (r FetchRequest) validate() error {
	if r.Size < 0 || r.Size > chunk.MaxObject || r.Offset < 0 || r.Length < 0 || r.Offset > r.Size || r.Length > r.Size-r.Offset {
		return errors.New("the range does not lie in the object")
	}
	return nil
}

// statusOf says 503 only of a peer that ends: what cannot be had from one that
// goes on is no reason to do without it.
func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrAbsent):
		return http.StatusNotFound
	case errors.Is(err, chunk.ErrClosed), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (s *Server) store(w http.ResponseWriter, _ *http.Request) {
	answer(w, place{s.Dir, s.Room()})
}

func (s *Server) bytes(w http.ResponseWriter, r *http.Request) {
	var request pinned
	if !read(w, r, maxPin, &request) {
		return
	}
	total := map[string]int64{}
	for _, d := range request.Objects {
		for source, n := range s.Bytes(d) {
			total[source] += n
		}
	}
	answer(w, total)
}

func read(w http.ResponseWriter, r *http.Request, most int64, into any) bool {
	return admin.ReadJSON(w, r, "the request cannot be read", most, into)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
