// Package storetest is the conformance suite of chunk.Store: one test for every
// sentence of the contract. An implementation runs it from its own tests:
//
//	storetest.Run(t, func(t *testing.T) chunk.Store { return memstore.New(0) })
//
// Abilities that need more than an empty store (a quota, a life after a restart)
// are tested when an [Option] says how to have them.
package storetest

import (
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// Option names an ability that an implementation has beyond an empty store.
type Option func(*suite)

// WithQuota opens an empty store that holds at most quota bytes.
func WithQuota(open func(t *testing.T, quota int64) chunk.Store) Option {
	return func(s *suite) { s.openQuota = open }
}

// WithReopen gives a new store over what old left, as another process would
// have it. The suite calls it with old closed, and with old still running: then
// it is to be as after a kill.
func WithReopen(reopen func(t *testing.T, old chunk.Store) chunk.Store) Option {
	return func(s *suite) { s.reopen = reopen }
}

type suite struct {
	open      func(*testing.T) chunk.Store
	openQuota func(*testing.T, int64) chunk.Store
	reopen    func(*testing.T, chunk.Store) chunk.Store
}

// Run tests the stores that open gives, an empty one at each call.
func Run(t *testing.T, open func(t *testing.T) chunk.Store, options ...Option) {
	s := suite{open: open}
	for _, o := range options {
		o(&s)
	}
	s.run(t, map[string]func(*testing.T, chunk.Store){
		"open and create":        testOpenCreate,
		"create another size":    testCreateSize,
		"remove":                 testRemove,
		"listing":                testListing,
		"write, put, read":       testWritePutRead,
		"put what is not there":  testPutRefused,
		"write into present":     testWritePresent,
		"write out of range":     testWriteRange,
		"read absent and beyond": testReadAbsent,
		"handles share state":    testSharedState,
		"drop":                   testDrop,
		"unput bytes forgotten":  testUnputForgotten,
		"seal":                   testSeal,
		"seal refused":           testSealRefused,
		"seal drops others":      testSealDrops,
		"file":                   testFile,
		"usage":                  testUsage,
		"closed handle":          testClosedHandle,
		"closed store":           testClosedStore,
		"many at once":           testConcurrent,
		"empty object":           testEmptyObject,
		"zeros unwritten":        testZerosUnwritten,
		"zeros over junk":        testZerosOverJunk,
		"ingest":                 testIngest,
		"ingest of another size": testIngestSize,
		"ingest aborted":         testIngestAborted,
		"ingest of what is here": testIngestHere,
		"ingest of a part here":  testIngestPart,
		"ingest against a seal":  testIngestSealed,
		"ingest, size taken":     testIngestReplaces,
		"ingests at once":        testIngestsAtOnce,
		"pin":                    testPin,
		"pin refused":            testPinRefused,
	})
	if s.openQuota != nil {
		s.runQuota(t)
	}
	if s.reopen != nil {
		s.runReopen(t)
	}
}

func (s *suite) run(t *testing.T, tests map[string]func(*testing.T, chunk.Store)) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			store := s.open(t)
			t.Cleanup(func() { store.Close() })
			test(t, store)
		})
	}
}
