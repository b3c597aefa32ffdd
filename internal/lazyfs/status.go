//go:build linux

package lazyfs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
)

// The states of an image.
const (
	StateLazy     = "lazy"     // some of it is missing
	StateComplete = "complete" // nothing is missing
	StateWaiting  = "waiting"  // it was mounted before the last start, and waits for the peer
)

// Status is what the daemon tells of itself, on /v1/status.
type Status struct {
	Version string        `json:"version"`
	Started time.Time     `json:"started"`
	RunDir  string        `json:"run_dir"`
	Store   string        `json:"store"` // the peer's
	Peer    PeerStatus    `json:"peer"`
	Session SessionStatus `json:"session"`
	Images  []ImageStatus `json:"images"`
	// Layers are containerd's snapshots of images' layers, and why one is not lazy.
	Layers []snapshotter.Layer `json:"layers,omitempty"`
}

// PeerStatus says whether the peer answers.
type PeerStatus struct {
	Socket  string `json:"socket"`
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty"`
}

// ImageStatus is what there is to know of one image.
type ImageStatus struct {
	Reference string       `json:"reference"`
	Platform  string       `json:"platform"`
	Manifest  chunk.Digest `json:"manifest"`
	Tree      chunk.Digest `json:"tree"`
	// Layer is the one layer of the image that this shows, by its blob; nil for all.
	Layer  *chunk.Digest `json:"layer,omitempty"`
	State  string        `json:"state"`
	Pinned bool          `json:"pinned"` // in the peer's store
	Mounts []Mount       `json:"mounts"`
	Users  []string      `json:"users,omitempty"`  // who else holds it: snapshots
	Native bool          `json:"native,omitempty"` // the kernel serves it itself, where it is mounted anew
	content.Progress
	// Fetched are the bytes that came while it was mounted, Read those that the
	// kernel was given; cached and passthrough reads are not counted.
	Fetched int64 `json:"fetched_bytes"`
	Read    int64 `json:"read_bytes"`
	Opens   int64 `json:"opens"`
	Reads   int64 `json:"reads"`
	Errors  int64 `json:"errors"`
	// Sources are the bytes of the image that came to this node since the peer's
	// start, by source; nil if the peer does not answer.
	Sources map[string]int64 `json:"sources,omitempty"`
	Waits   []Wait           `json:"waits,omitempty"`
}

// Wait is a read that waits for bytes.
type Wait struct {
	Object chunk.Digest `json:"object"`
	Offset int64        `json:"offset"`
	Length int64        `json:"length"`
	Since  time.Time    `json:"since"`
	Reason string       `json:"reason,omitempty"` // why they are not here, as far as is known
}

// Is tells whether what names this image: a reference, a digest, or a directory
// on which it is mounted.
func (s ImageStatus) Is(what string) bool {
	if what == s.Tree.String() || what == s.Manifest.String() || SameReference(s.Reference, what) {
		return true
	}
	return slices.ContainsFunc(s.Mounts, func(m Mount) bool {
		return m.Target == what || SameReference(m.Reference, what)
	})
}

// Images tells of all images, by reference.
func (d *Daemon) Images(ctx context.Context) []ImageStatus {
	d.mu.Lock()
	var all []ImageStatus
	objects := map[chunk.Digest][]chunk.Digest{}
	for _, im := range d.images {
		all = append(all, d.statusOf(im))
		objects[im.record.Image.Tree] = im.content.Objects()
	}
	for _, r := range d.waiting {
		if r.wanted() {
			s := describe(r)
			s.State = StateWaiting
			all = append(all, s)
		}
	}
	d.mu.Unlock()
	for i := range all {
		if sources, err := d.peer.Bytes(ctx, objects[all[i].Tree]); err == nil && len(sources) > 0 {
			all[i].Sources = sources
		}
	}
	d.explainWaits(ctx, all)
	slices.SortFunc(all, func(a, b ImageStatus) int {
		if c := strings.Compare(a.Reference, b.Reference); c != 0 {
			return c
		}
		return strings.Compare(a.Tree.Hex(), b.Tree.Hex())
	})
	return all
}

func describe(r *Record) ImageStatus {
	i := r.Image
	return ImageStatus{
		Reference: i.Reference, Platform: i.Platform, Manifest: i.Manifest, Tree: i.Tree, Layer: i.Layer,
		Mounts: append([]Mount{}, r.Mounts...), Users: slices.Clone(r.Users),
	}
}

func (d *Daemon) statusOf(im *image) ImageStatus {
	s := describe(im.record)
	s.Pinned = im.pinned
	s.Progress = im.content.Progress()
	s.State = StateLazy
	if s.Whole() {
		s.State = StateComplete
	}
	s.Native = im.native || s.Whole() && d.cfg.Graduate && !im.refused
	served := im.served.Status()
	s.Fetched, s.Read, s.Opens, s.Reads, s.Errors = s.Progress.Fetched(), served.Bytes, served.Opens, served.Reads, served.Errors
	for _, w := range served.Waits {
		s.Waits = append(s.Waits, Wait{Object: w.Object, Offset: w.Offset, Length: w.Length, Since: w.Since, Reason: w.Reason})
	}
	return s
}

// statusPatience bounds what a status waits for the peer.
const statusPatience = 2 * time.Second

// Status tells of the daemon and all images.
func (d *Daemon) Status(version, socket string, started time.Time) Status {
	ctx, cancel := context.WithTimeout(d.ctx, statusPatience)
	defer cancel()
	s := Status{Version: version, Started: started, RunDir: d.cfg.RunDir, Store: d.storeDir(), Peer: PeerStatus{Socket: socket, Answers: true}}
	if err := d.PeerAnswers(ctx); err != nil {
		s.Peer.Answers, s.Peer.Error = false, err.Error()
	}
	s.Session, s.Images = d.session.status(), d.Images(ctx)
	return s
}

// PeerAnswers tells why the peer does not answer.
func (d *Daemon) PeerAnswers(ctx context.Context) error {
	_, err := d.peer.Store(ctx)
	return err
}
