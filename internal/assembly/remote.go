package assembly

import (
	"context"
	"crypto/ed25519"
	"path/filepath"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/derive"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/pull"
	"github.com/shoal-project/shoal/internal/remote"
)

// deriver makes image trees over this node's engine and store.
func (p *parts) deriver(cfg members.Remote, engine *download.Engine) (*derive.Deriver, error) {
	d, err := derive.Open(derive.Config{
		Dir: filepath.Join(p.DataDir, "remote"), Parallel: cfg.Parallel, Limits: cfg.Limits(),
	}, derive.Deps{
		Objects: engine, Store: p.store, Key: p.identity.Key(), Log: p.Log, Metrics: derive.NewMetrics(p.Metrics),
	})
	if err != nil {
		return nil, err
	}
	p.OnClose(d.Close)
	return d, nil
}

// treeMaker gives a deriver's statements in the form in which they travel.
func treeMaker(d *derive.Deriver) distribution.Deriver {
	return func(ctx context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) ([]byte, error) {
		binding, err := d.Tree(ctx, src, view, tell)
		if err != nil {
			return nil, err
		}
		return binding.MarshalBinary()
	}
}

// remoteImages is what the lazy file system of this node asks.
func (p *parts) remoteImages(cfg members.Remote, engine *download.Engine, trust []ed25519.PublicKey) (*nodeapi.Server, error) {
	d, err := p.deriver(cfg, engine)
	if err != nil {
		return nil, err
	}
	puller := p.puller(engine)
	opener := &remote.Opener{
		Images: puller, Engine: engine, Alone: len(trust) == 0, Local: treeMaker(d),
		Trust: append([]ed25519.PublicKey{p.identity.Key().Public().(ed25519.PublicKey)}, trust...),
	}
	return &nodeapi.Server{
		Open: opener.Open, Fetch: opener.Fetch, Why: engine.Why, Room: p.store.Room, Find: opener.Find, Blob: opener.Blob, Store: p.store, Dir: p.storeDir(),
		Bytes: bytesBy(puller, opener.Alone), Freed: p.evicted,
	}, nil
}

// bytesBy tells an object's bytes by source. What a node that works alone has of an
// image, it derived.
func bytesBy(p *pull.Puller, alone bool) func(chunk.Digest) map[string]int64 {
	return func(d chunk.Digest) map[string]int64 {
		bytes := p.Sources(d)
		if n := bytes[pull.FromStore]; alone && n > 0 {
			delete(bytes, pull.FromStore)
			bytes[nodeapi.FromDerived] = n
		}
		return bytes
	}
}
