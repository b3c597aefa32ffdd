package exchange

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoal-project/shoal/distribution"
)

// Proofs are HMAC-SHA-256 under a key that HKDF-SHA-256 derives from the network
// key (which may be empty: then everybody on this machine is a member).
const (
	keyLabel   = "shoal exchange 1 membership"
	tlsLabel   = "tls"
	clearLabel = "clear"
	nonceSize  = 16
	maxSkew    = time.Minute
)

var (
	errProof  = errors.New("no valid proof of membership: do both nodes have the same network key and security?")
	errReused = errors.New("proof of membership was used before")
)

type nonce [nonceSize]byte

// membership makes and checks proofs.
type membership struct {
	self distribution.NodeID
	key  []byte
}

func newMembership(self distribution.NodeID, networkKey []byte) (membership, error) {
	key, err := hkdf.Key(sha256.New, networkKey, nil, keyLabel, sha256.Size)
	if err != nil {
		return membership{}, fmt.Errorf("deriving the membership key: %w", err)
	}
	return membership{self: self, key: key}, nil
}

// mac is over the parts, one a line; none can hold a line's end.
func (m membership) mac(parts ...string) string {
	h := hmac.New(sha256.New, m.key)
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{'\n'})
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// tlsProof shows that client knows the network key; that it is client, TLS does.
func (m membership) tlsProof(client, server distribution.NodeID) string {
	return m.mac(tlsLabel, string(client), string(server))
}

func (m membership) checkTLS(client distribution.NodeID, proof string) error {
	if !hmac.Equal([]byte(proof), []byte(m.tlsProof(client, m.self))) {
		return errProof
	}
	return nil
}

// request is what a clear-text proof covers, beside both names.
type request struct{ method, path, rng string }

// clearProof is "<client> <unix seconds> <nonce> <mac>".
func (m membership) clearProof(server distribution.NodeID, r request, now time.Time) string {
	var n nonce
	rand.Read(n[:]) // cannot fail
	text := base64.RawURLEncoding.EncodeToString(n[:])
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := m.mac(clearLabel, string(m.self), string(server), r.method, r.path, r.rng, stamp, text)
	return strings.Join([]string{string(m.self), stamp, text, mac}, " ")
}

// checkClear checks a proof against the request that it came with, and that it
// was not used before.
func (m membership) checkClear(proof string, r request, seen *nonces, now time.Time) (distribution.NodeID, error) {
	parts := strings.Split(proof, " ")
	if len(parts) != 4 {
		return "", errProof
	}
	client, stamp, text := parts[0], parts[1], parts[2]
	want := m.mac(clearLabel, client, string(m.self), r.method, r.path, r.rng, stamp, text)
	if !hmac.Equal([]byte(parts[3]), []byte(want)) {
		return "", errProof
	}
	// From here on the proof was made by a member.
	var n nonce
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || copy(n[:], raw) != nonceSize || len(raw) != nonceSize {
		return "", errProof
	}
	seconds, err := parseNumber(stamp)
	if err != nil {
		return "", errProof
	}
	at := time.Unix(seconds, 0)
	if skew := now.Sub(at); skew > maxSkew || skew < -maxSkew {
		return "", fmt.Errorf("the clocks of the two nodes differ by %s: set both, for example by NTP", skew.Abs().Round(time.Second))
	}
	return distribution.NodeID(client), seen.use(n, at, now)
}

// nodeID is the name that follows from an identity key.
func nodeID(key ed25519.PrivateKey) (distribution.NodeID, crypto.PrivKey, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return "", nil, fmt.Errorf("identity key: %w", err)
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return "", nil, fmt.Errorf("identity key: %w", err)
	}
	return distribution.NodeID(id.String()), priv, nil
}
