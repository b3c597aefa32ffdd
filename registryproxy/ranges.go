package registryproxy

import (
	"fmt"
	"strconv"
	"strings"
)

// span is a part of a blob: n bytes from off.
type span struct{ off, n int64 }

// contentRange is the header value of a 206.
func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.off, s.off+s.n-1, size)
}

// parseRange reads a Range header for a blob of size bytes as RFC 9110 section
// 14 has it. Without one, with another unit, a malformed one or several ranges
// (which a server may ignore), partial is false and the span is everything. ok
// is false when the range lies outside.
func parseRange(header string, size int64) (s span, partial, ok bool) {
	whole := span{0, size}
	unit, spec, found := strings.Cut(header, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(spec, ",") {
		return whole, false, true
	}
	first, last, found := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !digits(first) || !digits(last) || first+last == "" {
		return whole, false, true
	}
	if first == "" {
		n := min(position(last), size)
		return span{size - n, n}, true, n > 0
	}
	from, to := position(first), size-1
	if last != "" {
		if to = position(last); to < from {
			return whole, false, true
		}
	}
	if from >= size {
		return span{}, true, false
	}
	return span{from, min(to, size-1) - from + 1}, true, true
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// position reads digits; what is too large for an int64 is beyond every blob.
func position(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1
	}
	return n
}
