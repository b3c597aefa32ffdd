package layer

import (
	"encoding/binary"
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// object is an Object of the layer that is being built.
type object struct {
	Object
	known bool  // an earlier layer's pack
	used  int64 // of a known one: the bytes that this layer uses of it
}

// sparse tells whether so little of an earlier layer's pack is used here that
// whoever needs this layer should not have to fetch it.
func (o *object) sparse() bool { return o.known && 2*o.used < o.Size }

// packer fills packs one after the other.
type packer struct {
	sink    Sink
	objects *[]object
	buf     []byte // the open pack
	number  uint32 // of the open pack, if buf is not empty
	packs   int
	bytes   int64
}

// add appends a file's bytes to the open pack, or to a new one if they do not
// fit. The pack's digest is known only when it is full.
func (p *packer) add(data []byte, file chunk.Digest) (place, error) {
	if padded(int64(len(p.buf)), PackAlign)+int64(len(data)) > PackMax {
		if err := p.flush(); err != nil {
			return place{}, err
		}
	}
	if len(p.buf) == 0 {
		p.number = uint32(len(*p.objects))
		*p.objects = append(*p.objects, object{Object: Object{Pack: true}})
	}
	if p.buf == nil {
		p.buf = make([]byte, 0, PackMax)
	}
	p.align()
	where := place{p.number, uint32(len(p.buf)), uint32(len(data))}
	p.buf = append(p.buf, data...)
	if len(p.buf) >= PackMin && endsPack(file, len(data)) {
		return where, p.flush()
	}
	return where, nil
}

// endsPack draws a pack's end from the digest of its last file, so that packs
// with the same files end alike in another layer. The chance grows with the
// file's length: one in the mean for each MiB, whatever the files' lengths.
func endsPack(file chunk.Digest, length int) bool {
	const perByte = (1 << 32) / (1 << 20)
	return uint64(binary.BigEndian.Uint32(file[28:])) < uint64(padded(int64(length), PackAlign))*perByte
}

// align fills the open pack up with zeros to where the next file may begin.
func (p *packer) align() {
	end := padded(int64(len(p.buf)), PackAlign)
	clear(p.buf[len(p.buf):end])
	p.buf = p.buf[:end]
}

// flush puts the open pack. It is filled up to whole blocks, since the kernel
// does not read the short last block of an object.
func (p *packer) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	p.align()
	d, err := p.sink.Put(p.buf)
	if err != nil {
		return fmt.Errorf("put a pack of %d bytes: %w", len(p.buf), err)
	}
	o := &(*p.objects)[p.number]
	o.Digest, o.Size = d, int64(len(p.buf))
	p.packs++
	p.bytes += o.Size
	p.buf = p.buf[:0]
	return nil
}
