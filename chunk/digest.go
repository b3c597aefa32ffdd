package chunk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Digest is a SHA-256. Its text form is that of the OCI image spec,
// "sha256:" and 64 lower-case hexadecimal digits.
type Digest [sha256.Size]byte

// ErrDigest says that a text is not a SHA-256 digest in the OCI form.
var ErrDigest = errors.New("not a sha256 digest")

const digestPrefix = "sha256:"

// ParseDigest reads the text form. Upper-case digits, other algorithms and
// surrounding space are refused, so that every digest has one spelling.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != 2*sha256.Size || digits != strings.ToLower(digits) {
		return d, fmt.Errorf("%w: %.80q", ErrDigest, s)
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("%w: %.80q", ErrDigest, s)
	}
	return d, nil
}

// SumBytes is the digest of p.
func SumBytes(p []byte) Digest { return sha256.Sum256(p) }

// Hex is the digest's 64 hexadecimal digits, fit for a file name.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

func (d Digest) String() string { return digestPrefix + d.Hex() }

// IsZero tells the value that names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText gives the OCI form, for JSON and logs.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is [ParseDigest].
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// UnmarshalBinary takes the digest's 32 bytes, as messages carry it; other
// lengths are refused.
func (d *Digest) UnmarshalBinary(p []byte) error {
	if len(p) != len(d) {
		return fmt.Errorf("%w: %d bytes", ErrDigest, len(p))
	}
	copy(d[:], p)
	return nil
}
