package chunk

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Seal is an Ed25519 signature (RFC 8032) under a list's binary form. Its maker
// vouches that the whole object matched its own digest.
type Seal struct {
	Key       ed25519.PublicKey // 32 bytes: who sealed
	Signature []byte            // 64 bytes
}

// ErrSeal says that a seal is not one that this node trusts.
var ErrSeal = errors.New("untrusted seal")

// sealContext keeps a signature made for a seal from meaning anything else.
const sealContext = "shoal seal 1\n"

// Sign seals a list. Call it only for an object whose whole bytes were digested.
func Sign(key ed25519.PrivateKey, l *List) (Seal, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Seal{}, fmt.Errorf("%w: the signing key has %d bytes, not %d", ErrSeal, len(key), ed25519.PrivateKeySize)
	}
	body, err := l.MarshalBinary()
	if err != nil {
		return Seal{}, fmt.Errorf("seal %s: %w", l.Object, err)
	}
	return Seal{
		Key:       key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, append([]byte(sealContext), body...)),
	}, nil
}

// Validate tells whether key and signature have their lengths. It proves
// nothing about either.
func (s Seal) Validate() error {
	if len(s.Key) != ed25519.PublicKeySize || len(s.Signature) != ed25519.SignatureSize {
		return fmt.Errorf("%w: a key of %d and a signature of %d bytes", ErrSeal, len(s.Key), len(s.Signature))
	}
	return nil
}

// Verify tells whether one of the trusted keys sealed exactly this list.
func (s Seal) Verify(l *List, trusted []ed25519.PublicKey) error {
	// Ed25519 panics on a key of another length, and an empty configured key
	// would equal an empty claimed one.
	if err := s.Validate(); err != nil {
		return err
	}
	body, err := l.MarshalBinary()
	if err != nil {
		return err
	}
	for _, key := range trusted {
		if !bytes.Equal(key, s.Key) {
			continue
		}
		if ed25519.Verify(key, append([]byte(sealContext), body...), s.Signature) {
			return nil
		}
		return fmt.Errorf("%w: the signature under %s does not verify", ErrSeal, l.Object)
	}
	return fmt.Errorf("%w: %s is sealed by a key that is not configured here", ErrSeal, l.Object)
}
