package pull

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Blob brings one object of an image's repository in, whole, and tells how many
// of its bytes are here. It stays here at least until the caller closes it.
func (p *Puller) Blob(ctx context.Context, r Request, d chunk.Digest, manifest bool, tell func(done, total int64)) (distribution.Reader, error) {
	ref, err := ParseReference(r.Image)
	if err != nil {
		return nil, err
	}
	w := walk{Puller: p, src: ref.source(r.Authorization)}
	src := w.src
	src.Digest, src.Manifest = d, manifest
	reader, err := w.open(ctx, src)
	if err == nil {
		err = p.await(ctx, reader, d, tell)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of %s/%s: %w", d, ref.Registry, ref.Repository, advised(err))
	}
	return reader, nil
}

// await waits for the whole of what a reader reads, and closes it if that fails.
func (p *Puller) await(ctx context.Context, reader distribution.Reader, d chunk.Digest, tell func(done, total int64)) error {
	ended := make(chan error, 1)
	go func() { ended <- reader.Wait(ctx) }()
	ticker := time.NewTicker(p.Interval)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				_ = reader.Close() // what failed is told already
				return err
			}
			tell(reader.Size(), reader.Size())
			return nil
		case <-ticker.C:
			tell(p.present(d), reader.Size())
		}
	}
}

// present is how many bytes of an object are here.
func (p *Puller) present(d chunk.Digest) int64 {
	if p.Sources == nil {
		return 0
	}
	return Object{Bytes: p.Sources(d)}.Present()
}
