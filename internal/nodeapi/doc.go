// Package nodeapi is how the lazy file system asks the peer of its node: an
// image's tree, missing bytes, and that what is mounted stays. It is HTTP/1.1
// with JSON over the peer's Unix socket, which only the peer's own user may
// open. Bulk bytes never cross it: the lazy file system reads the store's files
// in place.
//
// Client is the asking end, Server the answering one, over the small interfaces
// that it needs. Both are safe for concurrent use.
package nodeapi

import (
	"github.com/shoal-project/shoal/chunk"
)

// OpenRequest names an image to be served lazily.
type OpenRequest struct {
	// Image is a reference as docker reads it.
	Image string `json:"image"`
	// Platform is os/arch[/variant]; empty is this machine's.
	Platform string `json:"platform,omitempty"`
	// Authorization is the header value for the image's registry; empty is the
	// peer's own credentials, or none.
	Authorization string `json:"authorization,omitempty"`
	// Known is an image that was opened before. Then no registry is asked what it
	// is, and the fields above but Authorization count for nothing.
	Known *Image `json:"known,omitempty"`
	// Depth opens only the image's first layers, as many; 0 is all.
	Depth int `json:"depth,omitempty"`
	// Layer opens this layer alone, named by its blob, with whiteouts as overlayfs
	// has them in a lower directory.
	Layer *chunk.Digest `json:"layer,omitempty"`
}

// The stages of opening an image.
const (
	StageResolve = "resolve" // finding manifest and config
	StageLayers  = "layers"  // the layers are read by whoever derives the tree
	StageTree    = "tree"    // the tree comes to this node
)

// Progress is how far opening an image is. Done and Total are bytes of layers or
// of the tree; Total is zero while it is not known.
type Progress struct {
	Stage string `json:"stage"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// Layer is one layer as the manifest tells it.
type Layer struct {
	Digest    chunk.Digest `json:"digest"`
	Size      int64        `json:"size"`
	MediaType string       `json:"media_type"`
	// TOC is the digest of the table of contents in an eStargz or zstd:chunked blob,
	// as the manifest tells it.
	TOC *chunk.Digest `json:"toc,omitempty"`
}

// Image is an image whose tree is whole in the peer's store.
type Image struct {
	Reference  string         `json:"reference"` // as it was asked for
	Registry   string         `json:"registry"`
	Repository string         `json:"repository"`
	Manifest   chunk.Digest   `json:"manifest"`
	Config     chunk.Digest   `json:"config"`
	Platform   string         `json:"platform"`
	Layers     []Layer        `json:"layers"`
	DiffIDs    []chunk.Digest `json:"diff_ids"`
	// Depth and Layer say what part of the layers Tree shows, as in OpenRequest;
	// Layers and DiffIDs are always all.
	Depth    int           `json:"depth,omitempty"`
	Layer    *chunk.Digest `json:"layer,omitempty"`
	Tree     chunk.Digest  `json:"tree"`
	TreeSize int64         `json:"tree_size"`
	Plain    int64         `json:"plain,omitempty"` // of Layer alone: the plain bytes in its tar stream
	// How the image wants to be run.
	Env        []string `json:"env,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	WorkingDir string   `json:"working_dir,omitempty"`
	User       string   `json:"user,omitempty"`
}

// FetchRequest asks for bytes of an object of a tree.
type FetchRequest struct {
	Object chunk.Digest `json:"object"`
	Size   int64        `json:"size"` // of the object
	Offset int64        `json:"offset"`
	Length int64        `json:"length"`
	// Registry and Repository are the image's.
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	// Ahead is for bytes that will be wanted soon: it gives way to those that are.
	Ahead bool `json:"ahead,omitempty"`
	// Background gives way to every request that is not.
	Background bool `json:"background,omitempty"`
}

// event is a line of the answer to an OpenRequest; the last one has the image
// or the error.
type event struct {
	Progress *Progress `json:"progress,omitempty"`
	Image    *Image    `json:"image,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// fetched answers a FetchRequest: the object's blocks that are here and verified.
type fetched struct {
	Have []byte `json:"have"`
}

// pinned is the body of a pin.
type place struct {
	Dir  string `json:"dir"`
	Room int64  `json:"room"`
}

type pinned struct {
	Objects []chunk.Digest `json:"objects"`
}

// Bounds of what either end accepts.
const (
	maxRequest = 64 << 10
	maxPin     = 128 << 20 // a million digests as text
	maxAnswer  = 16 << 20
)
