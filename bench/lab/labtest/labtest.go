//go:build linux

// Package labtest gives tests a lab. It does nothing else.
package labtest

import (
	"testing"

	"github.com/shoal-project/shoal/bench/lab"
)

// New makes a lab that is closed when the test ends. Where none can be made the
// test is skipped, with the reason.
func New(t testing.TB, config lab.Config) *lab.Lab {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skipf("SKIP: no network lab here: %v", err)
	}
	l, err := lab.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
