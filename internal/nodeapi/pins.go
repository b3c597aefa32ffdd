package nodeapi

import (
	"net/http"

	"github.com/shoal-project/shoal/chunk"
)

func (s *Server) pin(w http.ResponseWriter, r *http.Request) {
	var request pinned
	if !read(w, r, maxPin, &request) {
		return
	}
	if err := s.Store.Pin(r.PathValue("name"), request.Objects); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) unpin(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	var kept []chunk.Digest
	if r.URL.Query().Has("free") {
		kept = s.Store.Pins()[name]
	}
	if err := s.Store.Unpin(name); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, d := range kept {
		if s.Store.Remove(d) == nil && s.Freed != nil { // one in use is left for eviction
			s.Freed(d)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
