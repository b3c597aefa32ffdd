//go:build linux

package lazyfs

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// SameReference tells whether two references name the same image, however they
// are written. One with a tag and a digest, as container engines write them, is
// also what the tag alone names.
func SameReference(a, b string) bool {
	if a == b {
		return true
	}
	if strings.Contains(a, "@") != strings.Contains(b, "@") {
		a, b = withoutDigest(a), withoutDigest(b)
	}
	first, err := name.ParseReference(a)
	if err != nil {
		return false
	}
	second, err := name.ParseReference(b)
	return err == nil && first.Name() == second.Name()
}

// withoutDigest takes the digest off a reference that has a tag, too.
func withoutDigest(reference string) string {
	tagged, _, _ := strings.Cut(reference, "@")
	if strings.LastIndexByte(tagged, ':') > strings.LastIndexByte(tagged, '/') {
		return tagged
	}
	return reference
}
