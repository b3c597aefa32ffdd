package diskstore

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
)

// A seal file (docs/FORMAT.md):
//
//	8 bytes   "shoal.sl"
//	1 byte    version, 1
//	3 bytes   zero
//	4 bytes   length of the list, big endian
//	          the list's binary form
//	32 bytes  the sealing key
//	64 bytes  the signature
//	32 bytes  SHA-256 of all before
const (
	sealMagic   = "shoal.sl"
	sealVersion = 1
	sealHeader  = 16
	sealTail    = ed25519.PublicKeySize + ed25519.SignatureSize + sha256.Size
	// maxSealFile is above the file of an object of chunk.MaxObject.
	maxSealFile = 2 << 20
)

func encodeSeal(l *chunk.List, s chunk.Seal) ([]byte, error) {
	list, err := l.MarshalBinary()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, sealHeader+len(list)+sealTail)
	b = append(b, sealMagic...)
	b = append(b, sealVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	b = append(b, list...)
	b = append(b, s.Key...)
	b = append(b, s.Signature...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func decodeSeal(b []byte) (*chunk.List, chunk.Seal, error) {
	var none chunk.Seal
	if len(b) < sealHeader+sealTail || string(b[:8]) != sealMagic || b[8] != sealVersion {
		return nil, none, fmt.Errorf("%w seal: no version %d header", errDamaged, sealVersion)
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(sum) {
		return nil, none, fmt.Errorf("%w seal: wrong checksum", errDamaged)
	}
	if n := binary.BigEndian.Uint32(b[12:16]); int64(n) != int64(len(b)-sealHeader-sealTail) {
		return nil, none, fmt.Errorf("%w seal: a list of %d bytes in a file of %d", errDamaged, n, len(b))
	}
	keyAt := len(body) - ed25519.PublicKeySize - ed25519.SignatureSize
	list, err := chunk.ParseList(body[sealHeader:keyAt])
	if err != nil {
		return nil, none, fmt.Errorf("%w seal: %w", errDamaged, err)
	}
	tail := append([]byte(nil), body[keyAt:]...)
	return list, chunk.Seal{Key: tail[:ed25519.PublicKeySize:ed25519.PublicKeySize], Signature: tail[ed25519.PublicKeySize:]}, nil
}

// readSeal reads an object's seal file; no list and no error if there is none.
func readSeal(path string, d chunk.Digest, size int64) (*chunk.List, chunk.Seal, error) {
	f, err := openPlain(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, chunk.Seal{}, nil
	}
	if err != nil {
		return nil, chunk.Seal{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSealFile))
	if err != nil {
		return nil, chunk.Seal{}, err
	}
	l, s, err := decodeSeal(b)
	if err != nil {
		return nil, chunk.Seal{}, err
	}
	if err := l.Describes(d, size); err != nil {
		return nil, chunk.Seal{}, fmt.Errorf("%w seal: %w", errDamaged, err)
	}
	return l, s, nil
}

// writeSeal replaces a seal file durably.
func writeSeal(path string, l *chunk.List, s chunk.Seal) error {
	b, err := encodeSeal(l, s)
	if err != nil {
		return err
	}
	return persist.Replace(path, filepath.Join(parentDir(path), "seal-*"+tempSuffix), b)
}

// recordSeal writes the seal beside o and drops the chunks that differ. A crash
// between the two is mended when the object is next opened.
func (o *object) recordSeal(f *files, l *chunk.List, s chunk.Seal) error {
	o.sealMu.Lock()
	defer o.sealMu.Unlock()
	if err := writeSeal(o.path+sealSuffix, l, s); err != nil {
		return err
	}
	kept := *l
	kept.Chunks = slices.Clone(l.Chunks)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil {
		return chunk.ErrClosed
	}
	o.list, o.seal, o.sealed = &kept, s, true
	var differ []int
	for i, want := range kept.Chunks {
		if o.present.Has(i) && o.sums[i].Digest() != want {
			differ = append(differ, i)
		}
	}
	return o.drop(f, differ)
}
