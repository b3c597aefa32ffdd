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
	kept := map[chunk.Digest]bool{}
	if r.URL.Query().Has("free") {
		for _, d := range s.Store.Pins()[name] {
			kept[d] = true
		}
	}
	if err := s.Store.Unpin(name); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.free(kept)
	w.WriteHeader(http.StatusNoContent)
}
