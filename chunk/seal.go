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
	body, err := l.MarshalBinary()
	if err != nil {
		return Seal{}, fmt.Errorf("seal %s: %w", l.Object, err)
	}
	return Seal{
		Key:       key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, append([]byte(sealContext), body...)),
	}, nil
}

// Verify tells whether one of the trusted keys sealed exactly this list.
func (s Seal) Verify(l *List, trusted []ed25519.PublicKey) error {
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
