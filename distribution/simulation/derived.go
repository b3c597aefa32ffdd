package simulation

import (
	"context"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Derive puts an object that no origin has into the supernode's store, sealed.
func (c *Cluster) Derive(data []byte) (chunk.Digest, error) { return c.DeriveAt(c.Supernode, data) }

// DeriveAt is Derive on another host, under its own seal, that others do not trust.
func (c *Cluster) DeriveAt(h *Host, data []byte) (chunk.Digest, error) {
	in, err := h.Store.Ingest(int64(len(data)))
	if err != nil {
		return chunk.Digest{}, err
	}
	if _, err := in.Write(data); err != nil {
		return chunk.Digest{}, err
	}
	obj, err := in.Commit()
	if err != nil {
		return chunk.Digest{}, err
	}
	defer obj.Close()
	list := &chunk.List{Kind: chunk.KindFile, Object: obj.Digest(), Size: obj.Size()}
	for i := range chunk.Count(obj.Size()) {
		list.Chunks = append(list.Chunks, obj.Sums(i).Digest())
	}
	seal, err := chunk.Sign(h.key, list)
	if err != nil {
		return chunk.Digest{}, err
	}
	return obj.Digest(), obj.Seal(list, seal)
}

// Ensure makes a part of a derived object present on a host.
func (c *Cluster) Ensure(ctx context.Context, h *Host, d chunk.Digest, size, off, n int64, p distribution.Priority) (*chunk.Bitmap, error) {
	src := distribution.Source{Registry: "origin", Repository: "r", Digest: d, Size: size, Derived: true}
	return h.Engine.Ensure(ctx, src, off, n, p)
}
