//go:build linux

package lazyfs

import (
	"strings"
	"testing"
)

func TestSameReference(t *testing.T) {
	one, two := "@sha256:"+strings.Repeat("1", 64), "@sha256:"+strings.Repeat("2", 64)
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"debian", "docker.io/library/debian:latest", true},
		{"r:5000/a:v1", "r:5000/a:v2", false},
		{"r:5000/a:v1" + one, "r:5000/a:v1", true},
		{"r:5000/a:v1", "r:5000/a:v1" + one, true},
		{"r:5000/a:v1" + one, "r:5000/a:v2", false},
		{"r:5000/a:v1" + one, "r:5000/a:v1" + two, false},
		{"r:5000/a:v1" + one, "r:5000/a" + one, true},
		{"r:5000/a" + one, "r:5000/a", false},
		{"no reference", "r:5000/a", false},
	} {
		if got := SameReference(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}
