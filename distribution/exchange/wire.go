package exchange

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// The headers and bounds of the protocol (docs/PROTOCOL.md).
const (
	pathPrefix   = "/v1/objects/"
	headerProof  = "Shoal-Proof"
	headerSums   = "Shoal-Sums"
	headerRetry  = "Retry-After-Ms"
	maxHeader    = 4 << 10 // net/http adds 4 KiB of its own
	maxErrorText = 256
)

var (
	errRange = errors.New("range is not a run of whole blocks within one chunk")
	errSums  = errors.New("malformed block digests")
)

// parsePath gives the object of a request's path.
func parsePath(path string) (chunk.Digest, error) {
	name, ok := strings.CutPrefix(path, pathPrefix)
	if !ok {
		return chunk.Digest{}, chunk.ErrDigest
	}
	return chunk.ParseDigest(name)
}

// extent is bytes [off, off+n) of an object.
type extent struct{ off, n int64 }

// extentOf is where a run of blocks lies.
func extentOf(size int64, run distribution.Span) (extent, error) {
	last := run.End() - 1
	if run.N == 0 || run.End() > chunk.BlockCount(size) || int(run.First)/chunk.BlocksPerChunk != last/chunk.BlocksPerChunk {
		return extent{}, fmt.Errorf("%w: blocks %s of %d bytes", errRange, run, size)
	}
	off := int64(run.First) * chunk.BlockSize
	return extent{off, min(int64(run.End())*chunk.BlockSize, size) - off}, nil
}

func (e extent) String() string { return fmt.Sprintf("bytes=%d-%d", e.off, e.off+e.n-1) }

func (e extent) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", e.off, e.off+e.n-1, size)
}

func (e extent) chunk() int { return int(e.off / chunk.Size) }

// parseRange reads a closed range "bytes=a-b" of whole blocks within one chunk
// of an object of size bytes. Every range has one spelling.
func parseRange(s string, size int64) (extent, error) {
	text, ok := strings.CutPrefix(s, "bytes=")
	a, b, dash := strings.Cut(text, "-")
	first, err1 := parseNumber(a)
	last, err2 := parseNumber(b)
	switch {
	case !ok || !dash || err1 != nil || err2 != nil,
		first > last, last >= size,
		first%chunk.BlockSize != 0,
		(last+1)%chunk.BlockSize != 0 && last+1 != size,
		first/chunk.Size != last/chunk.Size:
		return extent{}, errRange
	}
	return extent{first, last + 1 - first}, nil
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errRange
	}
	return n, nil
}

func formatSums(sums chunk.Sums) (string, error) {
	raw, err := sums.AppendBinary(make([]byte, 0, 32*len(sums)))
	if err != nil {
		return "", err
	}
	return base64.RawStdEncoding.EncodeToString(raw), nil
}

// parseSums reads the header for chunk i of an object; empty is nil.
func parseSums(s string, size int64, i int) (chunk.Sums, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > base64.RawStdEncoding.EncodedLen(32*chunk.BlocksPerChunk) {
		return nil, fmt.Errorf("%w: %d bytes", errSums, len(s))
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSums, err)
	}
	sums, err := chunk.ParseSums(raw, chunk.Length(size, i))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSums, err)
	}
	return sums, nil
}
