package layer

import (
	"errors"

	"github.com/shoal-project/shoal/chunk"
)

// ErrMap says that a map file is damaged, or not one.
var ErrMap = errors.New("damaged layer map")

// Map is one layer's map, read in place. Its methods may be called by many
// goroutines; not after Close.
type Map struct {
	data    []byte
	diffID  chunk.Digest
	entries int
	objects []Object
}

// OpenMap maps a file that Build wrote and checks its checksum.
func OpenMap(path string) (*Map, error) { return nil, ErrMap }

// Close gives the memory back, also that of every Entry.
func (m *Map) Close() error { return nil }

// DiffID names the layer.
func (m *Map) DiffID() chunk.Digest { return m.diffID }

// Len is the number of entries.
func (m *Map) Len() int { return m.entries }

// Objects are the content objects that entries point into. The caller does not
// change them.
func (m *Map) Objects() []Object { return m.objects }

// Entry reads entry i, counted from 0 in tar order, into e, whose Xattrs it uses
// again.
func (m *Map) Entry(i int, e *Entry) error { return ErrMap }
