package memstore_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/memstore"
	"github.com/shoal-project/shoal/chunk/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) chunk.Store { return memstore.New(0) },
		storetest.WithQuota(func(_ *testing.T, quota int64) chunk.Store { return memstore.New(quota) }))
}

func TestTooManyPins(t *testing.T) {
	s := memstore.New(0)
	for i := range chunk.MaxPins {
		if err := s.Pin(strconv.Itoa(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pin("another", nil); !errors.Is(err, chunk.ErrPin) {
		t.Errorf("one pin too many: error %v, want ErrPin", err)
	}
	if err := s.Pin("0", []chunk.Digest{{1}}); err != nil {
		t.Errorf("another pin in place of one: %v", err)
	}
}
