//go:build linux

package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
)

// Verified is what a verification found so far.
type Verified struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"` // that were hashed
	Total   int64 `json:"total"` // of the image
	// Bad tells of everything that is not what it should be, a line each.
	Bad []string `json:"bad,omitempty"`
}

// Verify hashes everything of the image that is here. tell hears how far it is,
// after each object.
func (m *Image) Verify(ctx context.Context, tell func(Verified)) (Verified, error) {
	var v Verified
	objects := m.distinct()
	for _, o := range objects {
		v.Total += o.size
	}
	for _, o := range objects {
		if err := o.verify(ctx, &v); err != nil {
			return v, err
		}
		v.Objects++
		tell(v)
	}
	return v, nil
}

func (o *object) verify(ctx context.Context, v *Verified) error {
	p, err := o.acquire()
	if errors.Is(err, chunk.ErrNotFound) {
		return nil
	}
	if err != nil {
		v.Bad = append(v.Bad, fmt.Sprintf("%s: %v", o.digest, err))
		return nil
	}
	defer o.release()
	var list *chunk.List
	if l, _, sealed := p.Sealed(); sealed {
		list = l
	}
	marked := p.Have()
	whole := sha256.New()
	buf := make([]byte, min(chunk.Size, o.size))
	for i := marked.NextSet(0); i < marked.Len(); i = marked.NextSet(i + 1) {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:chunk.Length(o.size, i)]
		if problem := o.verifyChunk(p, list, i, part, whole); problem != "" {
			v.Bad = append(v.Bad, fmt.Sprintf("%s: chunk %d of %d: %s", o.digest, i, marked.Len(), problem))
		}
		v.Bytes += int64(len(part))
	}
	if marked.Full() && !slices.Equal(whole.Sum(nil), o.digest[:]) {
		v.Bad = append(v.Bad, fmt.Sprintf("%s: the whole does not match its digest", o.digest))
	}
	return nil
}

// verifyChunk reads chunk i into buf, adds it to whole, and tells what is wrong
// with it.
func (o *object) verifyChunk(p *diskstore.Peeked, list *chunk.List, i int, buf []byte, whole hash.Hash) string {
	if _, err := p.File().ReadAt(buf, int64(i)*chunk.Size); err != nil {
		return err.Error()
	}
	whole.Write(buf)
	sums := chunk.SumBlocks(buf)
	switch {
	case !slices.Equal(sums, p.Sums(i)):
		return "its bytes do not match its block digests"
	case list != nil && sums.Digest() != list.Chunks[i]:
		return "its bytes do not match the sealed list"
	}
	return ""
}
