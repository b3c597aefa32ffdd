package node

import (
	"encoding/binary"
	"fmt"
	"io"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/shoal-project/shoal/distribution"
)

// A frame is 4 bytes length (big endian, of what follows), 1 byte type, and the
// message in CBOR (RFC 8949).
const (
	lengthSize  = 4
	frameHeader = lengthSize + 1
)

// makers holds every message by its type byte. The numbers are the protocol
// (docs/PROTOCOL.md): never change or reuse one.
func makers() map[byte]func() distribution.Message {
	return map[byte]func() distribution.Message{
		1:  func() distribution.Message { return new(distribution.Hello) },
		2:  func() distribution.Message { return new(distribution.Announce) },
		3:  func() distribution.Message { return new(distribution.Want) },
		4:  func() distribution.Message { return new(distribution.Need) },
		5:  func() distribution.Message { return new(distribution.Report) },
		6:  func() distribution.Message { return new(distribution.Derive) },
		16: func() distribution.Message { return new(distribution.Have) },
		17: func() distribution.Message { return new(distribution.Progress) },
		18: func() distribution.Message { return new(distribution.Digests) },
		19: func() distribution.Message { return new(distribution.Leave) },
		20: func() distribution.Message { return new(distribution.Seek) },
		32: func() distribution.Message { return new(distribution.Welcome) },
		33: func() distribution.Message { return new(distribution.Opened) },
		34: func() distribution.Message { return new(distribution.Refused) },
		35: func() distribution.Message { return new(distribution.Neighbours) },
		36: func() distribution.Message { return new(distribution.Grant) },
		37: func() distribution.Message { return new(distribution.Sealed) },
		38: func() distribution.Message { return new(distribution.Drop) },
		39: func() distribution.Message { return new(distribution.Quarantine) },
		40: func() distribution.Message { return new(distribution.Recall) },
		41: func() distribution.Message { return new(distribution.Deriving) },
		42: func() distribution.Message { return new(distribution.Derived) },
	}
}

// codec turns messages into frames and back. It is immutable.
type codec struct {
	enc   cbor.EncMode
	dec   cbor.DecMode
	make  map[byte]func() distribution.Message
	types map[reflect.Type]byte
}

func newCodec() (*codec, error) {
	enc, err := cbor.EncOptions{IndefLength: cbor.IndefLengthForbidden}.EncMode()
	if err != nil {
		return nil, fmt.Errorf("message encoder: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  8,
		MaxArrayElements: distribution.MaxSpans,
		MaxMapPairs:      32,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("message decoder: %w", err)
	}
	c := &codec{enc: enc, dec: dec, make: makers(), types: map[reflect.Type]byte{}}
	for kind, fresh := range c.make {
		c.types[reflect.TypeOf(fresh())] = kind
	}
	return c, nil
}

// frame encodes a message, after checking it.
func (c *codec) frame(m distribution.Message) ([]byte, error) {
	kind, ok := c.types[reflect.TypeOf(m)]
	if !ok {
		return nil, fmt.Errorf("%w: %T is not a message", distribution.ErrMessage, m)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%T: %w", m, err)
	}
	body, err := c.enc.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", m, err)
	}
	if len(body) >= distribution.MaxMessage {
		return nil, fmt.Errorf("%w: %T of %d bytes", distribution.ErrMessage, m, len(body))
	}
	f := make([]byte, frameHeader, frameHeader+len(body))
	binary.BigEndian.PutUint32(f, uint32(1+len(body)))
	f[lengthSize] = kind
	return append(f, body...), nil
}

// parse decodes what follows a frame's length. The message holds no part of p.
// Errors say the type only: a body may hold a caller's credentials.
func (c *codec) parse(p []byte) (distribution.Message, error) {
	if len(p) == 0 {
		return nil, fmt.Errorf("%w: empty frame", distribution.ErrMessage)
	}
	fresh, ok := c.make[p[0]]
	if !ok {
		return nil, fmt.Errorf("%w: message type %d is unknown here", distribution.ErrMessage, p[0])
	}
	m := fresh()
	if err := c.dec.Unmarshal(p[1:], m); err != nil {
		return nil, fmt.Errorf("%w: %T is malformed", distribution.ErrMessage, m)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%T: %w", m, err)
	}
	return m, nil
}

// readFrame reads one frame into buf, which grows as bytes come, never on the
// word of a length alone.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var head [lengthSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return buf, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > distribution.MaxMessage {
		return buf, fmt.Errorf("%w: frame of %d bytes", distribution.ErrMessage, n)
	}
	const step = 64 << 10
	buf = buf[:0]
	for len(buf) < n {
		have, more := len(buf), min(step, n-len(buf))
		if cap(buf)-have < more {
			buf = append(buf, make([]byte, more)...)
		}
		buf = buf[:have+more]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return buf, noEOF(err)
		}
	}
	return buf, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
