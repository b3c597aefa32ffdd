package origin

import (
	"strconv"
	"strings"
)

// byteRange is a Content-Range: bytes first to last, both included, of total.
type byteRange struct{ first, last, total int64 }

// parseContentRange reads "bytes 0-9/100". A total of "*" gives -1. Everything
// that does not make sense by itself is refused.
func parseContentRange(s string) (byteRange, bool) {
	spec, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return byteRange{}, false
	}
	span, total, ok1 := strings.Cut(strings.TrimSpace(spec), "/")
	first, last, ok2 := strings.Cut(span, "-")
	if !ok1 || !ok2 {
		return byteRange{}, false
	}
	r := byteRange{total: -1}
	if r.first, ok = parseSize(first); !ok {
		return byteRange{}, false
	}
	if r.last, ok = parseSize(last); !ok || r.last < r.first {
		return byteRange{}, false
	}
	if total != "*" {
		if r.total, ok = parseSize(total); !ok || r.last >= r.total {
			return byteRange{}, false
		}
	}
	return r, true
}

// parseSize reads digits only: no sign, no space.
func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
