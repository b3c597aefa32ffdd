package diskstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-project/shoal/chunk"
)

// A pin's file (docs/FORMAT.md):
//
//	8 bytes   "shoal.pn"
//	1 byte    version, 1
//	3 bytes   zero
//	4 bytes   how many objects, big endian
//	32 bytes  the digest of each
//	32 bytes  SHA-256 of all before
const (
	pinMagic    = "shoal.pn"
	pinVersion  = 1
	pinHeader   = 16
	digestSize  = 32
	maxPinBytes = pinHeader + digestSize*chunk.MaxPinned + sha256.Size
)

func encodePin(objects []chunk.Digest) []byte {
	b := make([]byte, 0, pinHeader+digestSize*len(objects)+sha256.Size)
	b = append(b, pinMagic...)
	b = append(b, pinVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(objects)))
	for _, d := range objects {
		b = append(b, d[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// decodePin reads a pin's file. Of a damaged one it gives whatever may be a
// digest, with the error: to pin too much costs room, to pin too little the
// content of a mounted image.
func decodePin(b []byte) ([]chunk.Digest, error) {
	body, err := checkPin(b)
	if err != nil {
		body = b[min(pinHeader, len(b)):]
	}
	n := min(len(body)/digestSize, chunk.MaxPinned)
	objects := make([]chunk.Digest, n)
	for i := range objects {
		objects[i] = chunk.Digest(body[digestSize*i:])
	}
	return objects, err
}

// checkPin gives the digests' bytes.
func checkPin(b []byte) ([]byte, error) {
	if len(b) < pinHeader+sha256.Size || string(b[:8]) != pinMagic || b[8] != pinVersion {
		return nil, fmt.Errorf("%w pin: no version %d header", errDamaged, pinVersion)
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(sum) {
		return nil, fmt.Errorf("%w pin: wrong checksum", errDamaged)
	}
	n := binary.BigEndian.Uint32(b[12:])
	if n > chunk.MaxPinned || int64(n)*digestSize != int64(len(body)-pinHeader) {
		return nil, fmt.Errorf("%w pin: %d objects in %d bytes", errDamaged, n, len(b))
	}
	return body[pinHeader:], nil
}

// loadPins reads all pins. One that is damaged still pins what can be read of
// it, and stays as it is until its owner pins or unpins the name again.
func (s *Store) loadPins() error {
	dir := filepath.Join(s.dir, pinsName)
	names, err := readNames(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the pins: %w", err)
	}
	slices.Sort(names)
	for _, file := range names {
		path := filepath.Join(dir, file)
		name, ok := strings.CutSuffix(file, pinSuffix)
		switch {
		case strings.HasSuffix(file, tempSuffix):
			s.removeLeftover(path)
		case !ok || chunk.CheckPin(name, 0) != nil:
			s.log.Warn("a file that is not the store's lies in its directory", "file", path)
		case len(s.pins) >= chunk.MaxPins:
			s.log.Error("a pin is left out, for there are too many: remove its file", "file", path, "max", chunk.MaxPins)
		default:
			s.loadPin(name, path)
		}
	}
	return nil
}

func (s *Store) loadPin(name, path string) {
	objects, err := readPin(path)
	if err != nil {
		s.log.Error("a pin is damaged: what can be read of it stays pinned, other objects of it may be evicted; pin or unpin it anew",
			"pin", name, "objects", len(objects), "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins[name] = objects
	s.pinned.add(objects)
}

func readPin(path string) ([]chunk.Digest, error) {
	f, err := openPlain(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPinBytes+1))
	objects, damage := decodePin(b)
	return objects, errors.Join(err, damage)
}
