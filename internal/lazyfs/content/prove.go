//go:build linux

package content

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
)

// prove hashes what the disk has of a run of blocks, against the sealed list or
// the object's own digest, and tells whether all of the run is here now.
func (o *object) prove(m *Image, first, end int) bool {
	o.proving.Lock()
	defer o.proving.Unlock()
	if o.present(first, end) {
		return true
	}
	p, err := o.acquire()
	if err != nil {
		return false
	}
	defer o.release()
	proved := chunk.NewBitmap(o.have.Len())
	if list, _, sealed := p.Sealed(); sealed {
		o.proveChunks(p, list, first/chunk.BlocksPerChunk, (end-1)/chunk.BlocksPerChunk, proved)
	} else if o.proveWhole(p) {
		proved.SetAll()
	}
	return proved.Count() > 0 && o.adopt(proved, m, byStore) == nil && o.present(first, end)
}

// proveChunks sets the blocks of chunks from to to that are what the list says.
func (o *object) proveChunks(p *diskstore.Peeked, list *chunk.List, from, to int, proved *chunk.Bitmap) {
	marked := p.Have()
	buf := make([]byte, min(chunk.Size, o.size))
	for i := from; i <= to; i++ {
		first, end := chunk.ChunkBlocks(o.size, i)
		if !marked.Has(i) || o.present(first, end) || o.knownBad(i, list.Chunks[i]) {
			continue
		}
		if !o.matches(p, i, list.Chunks[i], buf) {
			o.noteBad(i, list.Chunks[i])
			continue
		}
		o.table.metric.proved.WithLabelValues("good").Inc()
		for b := first; b < end; b++ {
			proved.Set(b)
		}
	}
}

func (o *object) matches(p *diskstore.Peeked, i int, want chunk.Digest, buf []byte) bool {
	buf = buf[:chunk.Length(o.size, i)]
	if _, err := p.File().ReadAt(buf, int64(i)*chunk.Size); err != nil {
		return false
	}
	return chunk.SumBlocks(buf).Digest() == want
}

// wholeObject is the chunk number under which a proof of all is remembered.
const wholeObject = -1

// proveWhole hashes an object that has no seal: the digest of all is the only
// proof.
func (o *object) proveWhole(p *diskstore.Peeked) bool {
	if !p.Have().Full() || o.knownBad(wholeObject, o.digest) {
		return false
	}
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(p.File(), 0, o.size))
	if err == nil && slices.Equal(h.Sum(nil), o.digest[:]) {
		o.table.metric.proved.WithLabelValues("good").Add(float64(chunk.Count(o.size)))
		return true
	}
	o.noteBad(wholeObject, o.digest)
	return false
}

// What did not match is not hashed again: only the peer can mend it.
func (o *object) knownBad(i int, want chunk.Digest) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	bad, known := o.bad[i]
	return known && bad == want
}

func (o *object) noteBad(i int, want chunk.Digest) {
	o.table.metric.proved.WithLabelValues("bad").Inc()
	o.table.log.Error("bytes in the store are not what they should be; the peer fetches them again when it is there",
		"object", o.digest.String(), "chunk", fmt.Sprint(i))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bad[i] = want
}
