package layer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// MaxLayers bounds the layers of an image.
const MaxLayers = 1024

// ErrBinding says that a binding is malformed, or not one that is trusted here.
var ErrBinding = errors.New("untrusted binding of a tree")

// bindingContext keeps a signature made for a binding from meaning anything else.
const bindingContext = "shoal tree 1\n"

// The binding's binary form; the signature is over the context and all that
// comes before the key:
//
//	8 bytes  "shoal.tb"
//	1 byte   1 for the form [FormRoot], 2 for [FormLower]
//	2 bytes  the number of layers
//	32 bytes a layer's diffID, lowest first
//	32 bytes tree
//	8 bytes  the tree's size
//	8 bytes  only of FormLower: the plain bytes in the last layer's tar stream
//	32 bytes key
//	64 bytes signature
const (
	bindingMagic  = "shoal.tb"
	bindingHeader = len(bindingMagic) + 1 + 2
	bindingFixed  = bindingHeader + 32 + 8 + ed25519.PublicKeySize + ed25519.SignatureSize
)

// Binding states that a tree is what the layers with these diffIDs, the lowest
// first, come to in a form. Its signer has merged them.
type Binding struct {
	Form      Form
	DiffIDs   []chunk.Digest
	Tree      chunk.Digest
	Size      int64             // of the tree in bytes
	Plain     int64             // of FormLower: the plain bytes in the last layer's tar stream
	Key       ed25519.PublicKey // 32 bytes: who signed
	Signature []byte            // 64 bytes
}

func (b *Binding) validate() error {
	if b.Form != FormRoot && (b.Form != FormLower || len(b.DiffIDs) == 0) {
		return fmt.Errorf("%w: form %d of %d layers", ErrBinding, b.Form, len(b.DiffIDs))
	}
	if b.Plain < 0 || b.Plain > 0 && b.Form == FormRoot {
		return fmt.Errorf("%w: %d plain bytes", ErrBinding, b.Plain)
	}
	if len(b.DiffIDs) > MaxLayers {
		return fmt.Errorf("%w: %d layers, more than %d", ErrBinding, len(b.DiffIDs), MaxLayers)
	}
	if b.Size <= 0 || b.Size > chunk.MaxObject {
		return fmt.Errorf("%w: a tree of %d bytes", ErrBinding, b.Size)
	}
	return nil
}

// appendBody appends what is signed, less the context.
func (b *Binding) appendBody(p []byte) []byte {
	p = append(p, bindingMagic...)
	p = append(p, 1+byte(b.Form))
	p = binary.BigEndian.AppendUint16(p, uint16(len(b.DiffIDs)))
	for i := range b.DiffIDs {
		p = append(p, b.DiffIDs[i][:]...)
	}
	p = append(p, b.Tree[:]...)
	p = binary.BigEndian.AppendUint64(p, uint64(b.Size))
	if b.Form == FormRoot {
		return p
	}
	return binary.BigEndian.AppendUint64(p, uint64(b.Plain))
}

func (b *Binding) signed() []byte { return b.appendBody([]byte(bindingContext)) }

// Sign fills in Key and Signature. Call it only for a tree that was merged here
// from maps with these diffIDs.
func (b *Binding) Sign(key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("%w: the signing key has %d bytes, not %d", ErrBinding, len(key), ed25519.PrivateKeySize)
	}
	if err := b.validate(); err != nil {
		return fmt.Errorf("sign a tree: %w", err)
	}
	b.Key = key.Public().(ed25519.PublicKey)
	b.Signature = ed25519.Sign(key, b.signed())
	return nil
}

// Verify tells whether one of the trusted keys signed exactly this.
func (b *Binding) Verify(trusted []ed25519.PublicKey) error {
	if err := b.complete(); err != nil {
		return err
	}
	for _, key := range trusted {
		if !bytes.Equal(key, b.Key) {
			continue
		}
		if ed25519.Verify(key, b.signed(), b.Signature) {
			return nil
		}
		return fmt.Errorf("%w: the signature under %s does not verify", ErrBinding, b.Tree)
	}
	return fmt.Errorf("%w: %s is signed by a key that is not configured here", ErrBinding, b.Tree)
}

// complete is validate for a binding that has been signed. Ed25519 panics on a
// key of another length, and an empty configured key would equal an empty one.
func (b *Binding) complete() error {
	if len(b.Key) != ed25519.PublicKeySize || len(b.Signature) != ed25519.SignatureSize {
		return fmt.Errorf("%w: a key of %d and a signature of %d bytes", ErrBinding, len(b.Key), len(b.Signature))
	}
	return b.validate()
}

// MarshalBinary gives the binary form (docs/FORMAT.md).
func (b *Binding) MarshalBinary() ([]byte, error) {
	if err := b.complete(); err != nil {
		return nil, err
	}
	p := b.appendBody(make([]byte, 0, bindingFixed+8+32*len(b.DiffIDs)))
	return append(append(p, b.Key...), b.Signature...), nil
}

// ParseBinding reads the binary form, which is canonical: what parses marshals to
// the same bytes. It proves nothing; see [Binding.Verify].
func ParseBinding(p []byte) (*Binding, error) {
	if len(p) < bindingFixed || string(p[:len(bindingMagic)]) != bindingMagic {
		return nil, fmt.Errorf("%w: no header", ErrBinding)
	}
	form, n := Form(p[len(bindingMagic)]-1), int(binary.BigEndian.Uint16(p[bindingHeader-2:]))
	length := bindingFixed + 32*n
	if form != FormRoot {
		length += 8
	}
	if n > MaxLayers || len(p) != length {
		return nil, fmt.Errorf("%w: %d bytes for %d layers", ErrBinding, len(p), n)
	}
	b := &Binding{Form: form, DiffIDs: make([]chunk.Digest, n)}
	p = p[bindingHeader:]
	for i := range b.DiffIDs {
		p = p[copy(b.DiffIDs[i][:], p):]
	}
	p = p[copy(b.Tree[:], p):]
	b.Size = int64(binary.BigEndian.Uint64(p))
	if p = p[8:]; form != FormRoot {
		b.Plain = int64(binary.BigEndian.Uint64(p))
		p = p[8:]
	}
	b.Key = bytes.Clone(p[:ed25519.PublicKeySize])
	b.Signature = bytes.Clone(p[ed25519.PublicKeySize:])
	if err := b.complete(); err != nil {
		return nil, err
	}
	return b, nil
}
