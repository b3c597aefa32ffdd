//go:build linux

package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/internal/containerd"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/pull"
	"github.com/shoal-project/shoal/layer"
)

// PullRequest is what to pull, and for which snapshotter.
type PullRequest struct {
	Image         string
	Platform      string // empty is this machine's
	Snapshotter   string
	Authorization string
}

// pulling is one pull.
type pulling struct {
	*Mover
	request PullRequest
	name    string // of the image record
	ref     pull.Reference
	found   *nodeapi.Found
	chain   []chunk.Digest
	proxied bool   // the snapshotter may show layers that were never unpacked
	refused string // why it will not
	tell    func(News)
}

// Pull brings an image into containerd. It calls tell from one goroutine at a time.
func (m *Mover) Pull(ctx context.Context, r PullRequest, tell func(News)) error {
	ref, err := pull.ParseReference(r.Image)
	if err != nil {
		return err
	}
	p := &pulling{Mover: m, request: r, ref: ref, name: recordName(ref), tell: oneAtATime(tell)}
	if p.proxied, err = m.Engine.Snapshotter(ctx, r.Snapshotter); err != nil {
		return err
	}
	if err := p.find(ctx); err != nil {
		return err
	}
	if err := m.underLease(ctx, p.transfer); err != nil {
		return fmt.Errorf("pulling %s: %w", p.name, err)
	}
	p.say(News{Complete: true})
	return nil
}

func (p *pulling) say(n News) {
	n.Image = p.name
	p.tell(n)
}

// recordName is the name that containerd's clients give the image.
func recordName(ref pull.Reference) string {
	name := ref.Registry + "/" + ref.Repository
	if ref.Digest.IsZero() {
		return name + ":" + ref.Tag
	}
	return name + "@" + ref.Digest.String()
}

func (p *pulling) root() nodeapi.Layer     { return p.found.Documents[0] }
func (p *pulling) manifest() nodeapi.Layer { return p.found.Documents[len(p.found.Documents)-2] }
func (p *pulling) config() nodeapi.Layer   { return p.found.Documents[len(p.found.Documents)-1] }

func (p *pulling) source() source {
	return source{p.ref.Registry, p.ref.Repository, p.request.Authorization}
}

// find learns what the image is.
func (p *pulling) find(ctx context.Context) (err error) {
	p.say(News{Stage: nodeapi.StageResolve})
	p.found, err = p.Peer.Find(ctx, nodeapi.FindRequest{Image: p.request.Image, Platform: p.request.Platform, Authorization: p.request.Authorization})
	if err != nil {
		return err
	}
	p.chain = layer.ChainIDs(p.found.DiffIDs)
	digest := p.root().Digest
	p.say(News{Digest: &digest})
	return nil
}

// releaseTime bounds letting the lease go when the pull was interrupted.
const releaseTime = 10 * time.Second

// underLease does something whose results are kept until it is over.
func (m *Mover) underLease(ctx context.Context, do func(context.Context) error) (err error) {
	leased, release, err := m.Engine.Lease(ctx)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		err = errors.Join(err, release(last))
	}()
	return do(leased)
}

// transfer brings everything, and the image record last.
func (p *pulling) transfer(ctx context.Context) error {
	if err := p.openLazily(ctx); err != nil {
		return err
	}
	if err := p.documents(ctx); err != nil {
		return err
	}
	if err := p.unpack(ctx); err != nil {
		return err
	}
	return p.Engine.SetImage(ctx, p.name, descriptor(p.root()))
}

// openLazily has the image's tree brought before the snapshotter asks for it,
// which has no credentials of this caller's. Why it cannot be is no error: then
// layers are unpacked.
func (p *pulling) openLazily(ctx context.Context) error {
	if !p.proxied || len(p.chain) == 0 {
		return nil
	}
	request := nodeapi.OpenRequest{
		Image: p.source().String() + "@" + p.manifest().Digest.String(), Platform: p.request.Platform, Authorization: p.request.Authorization,
	}
	_, err := p.Peer.Open(ctx, request, func(n nodeapi.Progress) { p.say(News{Stage: n.Stage, Done: n.Done, Total: n.Total}) })
	if err != nil && ctx.Err() == nil {
		p.refused = err.Error()
		return nil
	}
	return err
}

// documents writes config, manifest and indexes, each before what names it.
func (p *pulling) documents(ctx context.Context) error {
	for i := len(p.found.Documents) - 1; i >= 0; i-- {
		labels, err := p.documentLabels(ctx, i)
		if err != nil {
			return err
		}
		manifest := i < len(p.found.Documents)-1
		if err := p.bring(ctx, p.source(), p.found.Documents[i], manifest, labels, func(int64) {}); err != nil {
			return err
		}
	}
	return nil
}

// documentLabels are those that keep what document i names.
func (p *pulling) documentLabels(ctx context.Context, i int) (map[string]string, error) {
	switch last := len(p.found.Documents) - 1; {
	case i == last:
		return nil, nil
	case i == last-1:
		layers := make([]chunk.Digest, len(p.found.Layers))
		for n, l := range p.found.Layers {
			layers[n] = l.Digest
		}
		return manifestLabels(p.config().Digest, layers), nil
	}
	var body []byte
	err := p.blob(ctx, p.source(), p.found.Documents[i], true, func(int64) {}, func(file *diskstore.Peeked) (err error) {
		body, err = io.ReadAll(io.NewSectionReader(file.File(), 0, file.Size()))
		return err
	})
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", p.found.Documents[i].Digest, err)
	}
	return indexLabels(index, p.found.Documents[i+1].Digest), nil
}

// unpack has a snapshot of each layer, and records that on the config, which
// keeps them.
func (p *pulling) unpack(ctx context.Context) error {
	blobs := p.fetcher(ctx)
	defer blobs.close()
	for i := range p.found.Layers {
		state, err := p.layer(ctx, i, blobs)
		if err != nil {
			return err
		}
		p.say(News{Layer: p.ready(ctx, i, state)})
	}
	if len(p.chain) == 0 {
		return nil
	}
	top := p.chain[len(p.chain)-1].String()
	return p.Engine.Label(ctx, p.config().Digest, map[string]string{keepsSnapshot + p.request.Snapshotter: top})
}

// ready tells what became of a layer.
func (p *pulling) ready(ctx context.Context, i int, state string) *Layer {
	l := &Layer{Digest: p.found.Layers[i].Digest, Size: p.found.Layers[i].Size, State: state}
	if state != Unpacked || !p.proxied {
		return l
	}
	if l.Reason = p.refused; l.Reason == "" && p.Why != nil {
		l.Reason = p.Why(ctx, p.chain[i])
	}
	return l
}

// layer has the snapshot of layer i, the one below being there.
func (p *pulling) layer(ctx context.Context, i int, blobs *fetcher) (state string, err error) {
	name, parent := p.chain[i].String(), ""
	if i > 0 {
		parent = p.chain[i-1].String()
	}
	if there, err := p.Engine.Committed(ctx, p.request.Snapshotter, name); there || err != nil {
		return Present, err
	}
	labels := p.snapshotLabels(i)
	u, err := p.Engine.Prepare(ctx, p.request.Snapshotter, name, parent, labels)
	if errors.Is(err, containerd.ErrExists) {
		return Lazy, p.mustBeThere(ctx, name)
	}
	if err != nil {
		return "", err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		err = errors.Join(err, u.Close(last))
	}()
	if err := blobs.wait(ctx, i); err != nil {
		return "", err
	}
	p.say(News{Stage: StageUnpack, Total: p.found.Layers[i].Size})
	return Unpacked, u.Unpack(ctx, descriptor(p.found.Layers[i]), p.found.DiffIDs[i], name, labels)
}

// mustBeThere makes sure of a snapshot that exists by the snapshotter's word.
func (p *pulling) mustBeThere(ctx context.Context, name string) error {
	there, err := p.Engine.Committed(ctx, p.request.Snapshotter, name)
	if err == nil && !there {
		err = fmt.Errorf("the snapshotter %s says that the snapshot %s exists, and does not have it; pull the image again", p.request.Snapshotter, name)
	}
	return err
}
