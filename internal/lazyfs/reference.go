//go:build linux

package lazyfs

import "github.com/google/go-containerregistry/pkg/name"

// SameReference tells whether two references name the same image, however they
// are written.
func SameReference(a, b string) bool {
	if a == b {
		return true
	}
	first, err := name.ParseReference(a)
	if err != nil {
		return false
	}
	second, err := name.ParseReference(b)
	return err == nil && first.Name() == second.Name()
}
