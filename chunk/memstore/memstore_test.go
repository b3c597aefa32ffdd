package memstore_test

import (
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/memstore"
	"github.com/shoal-project/shoal/chunk/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) chunk.Store { return memstore.New(0) },
		storetest.WithQuota(func(_ *testing.T, quota int64) chunk.Store { return memstore.New(quota) }))
}
