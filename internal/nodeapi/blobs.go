package nodeapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/admin"
)

// FindRequest asks what an image is, for who wants it as the registry has it.
type FindRequest struct {
	Image         string `json:"image"`
	Platform      string `json:"platform,omitempty"`
	Authorization string `json:"authorization,omitempty"`
}

// Found is an image as the registry has it.
type Found struct {
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	// Documents are in the peer's store: the indexes from the one that the name
	// stands for on, the manifest, and the config.
	Documents []Layer `json:"documents"`
	// Layers are not.
	Layers  []Layer        `json:"layers"`
	DiffIDs []chunk.Digest `json:"diff_ids"`
}

// BlobRequest asks for an object of an image's repository, whole.
type BlobRequest struct {
	Image         string       `json:"image"` // any of the repository
	Digest        chunk.Digest `json:"digest"`
	Manifest      bool         `json:"manifest,omitempty"` // it is an index or a manifest
	Authorization string       `json:"authorization,omitempty"`
}

// blobEvent is a line of the answer to a BlobRequest; the last one says that the
// blob is here, or has the error.
type blobEvent struct {
	Done  int64  `json:"done,omitempty"` // bytes
	Total int64  `json:"total,omitempty"`
	Here  bool   `json:"here,omitempty"`
	Error string `json:"error,omitempty"`
}

// Find asks what an image is.
func (c *Client) Find(ctx context.Context, r FindRequest) (*Found, error) {
	var found Found
	if err := c.call(ctx, http.MethodPost, "/v1/remote/find", r, &found); err != nil {
		return nil, err
	}
	if len(found.Documents) < 2 || len(found.DiffIDs) != len(found.Layers) {
		return nil, errors.New("the peer's answer lacks a manifest, a config or diffIDs; are peer and lazyfs of one version?")
	}
	return &found, nil
}

// Blob has a blob brought into the peer's store, tells how many of its bytes are
// there, and calls use once all are. Until use returns, the store keeps it.
func (c *Client) Blob(ctx context.Context, r BlobRequest, tell func(done, total int64), use func() error) error {
	err := admin.Lines(ctx, c.admin, http.MethodPost, "/v1/remote/blob", r, func(e blobEvent) (bool, error) {
		if e.Error != "" {
			return true, errors.New(e.Error)
		}
		tell(e.Done, e.Total)
		if !e.Here {
			return false, nil
		}
		return true, use()
	})
	if err != nil {
		return fault(ctx, err)
	}
	return nil
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) {
	var request FindRequest
	if !read(w, r, maxRequest, &request) {
		return
	}
	found, err := s.Find(r.Context(), request)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	answer(w, found)
}

func (s *Server) blob(w http.ResponseWriter, r *http.Request) {
	var request BlobRequest
	if !read(w, r, maxRequest, &request) {
		return
	}
	say := admin.SayLines[blobEvent](w)
	kept, err := s.Blob(r.Context(), request, func(done, total int64) { say(blobEvent{Done: done, Total: total}) })
	if err != nil {
		say(blobEvent{Error: err.Error()})
		return
	}
	defer kept.Close()
	say(blobEvent{Done: kept.Size(), Total: kept.Size(), Here: true})
	<-r.Context().Done() // the client reads it in place, and then hangs up
}
