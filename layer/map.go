package layer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
)

// ErrMap says that a map file is damaged, or not one.
var ErrMap = errors.New("damaged layer map")

// Map is one layer's map, read in place. Its methods may be called by many
// goroutines; not after Close.
type Map struct {
	data    []byte // the file
	diffID  chunk.Digest
	plain   int64
	entries int
	records int // where they end
	files   int // the number of them; they begin where the records end
	objects []Object
	begins  []byte
}

// OpenMap maps a file that Build wrote into memory and checks its checksum. The
// file must not be changed while the map is open; it may be removed.
func OpenMap(path string) (*Map, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open a layer map: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open a layer map: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() < mapHeader+mapTrailer {
		return nil, fmt.Errorf("open %s: %w: %d bytes", path, ErrMap, info.Size())
	}
	data, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", path, err)
	}
	m, err := parseMap(data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), unix.Munmap(data))
	}
	return m, nil
}

// parseMap checks what does not depend on a single entry.
func parseMap(data []byte) (*Map, error) {
	if len(data) < mapHeader+mapTrailer || string(data[:len(mapMagic)]) != mapMagic || data[len(mapMagic)] != mapVersion {
		return nil, fmt.Errorf("%w: no version %d header", ErrMap, mapVersion)
	}
	body := data[:len(data)-sha256.Size]
	if sha256.Sum256(body) != [sha256.Size]byte(data[len(body):]) {
		return nil, fmt.Errorf("%w: its checksum does not match", ErrMap)
	}
	trailer := data[len(data)-mapTrailer:]
	count := func(i int) int64 { return int64(binary.BigEndian.Uint32(trailer[mapCounts+4*i:])) }
	entries, files, objects := count(0), count(1), count(2)
	begins := int64(len(data)) - mapTrailer - mapOffset*entries
	table := begins - mapObject*objects
	records := table - mapFile*files
	if records < mapHeader || records%mapAlign != 0 {
		return nil, fmt.Errorf("%w: %d entries, %d files and %d objects in %d bytes", ErrMap, entries, files, objects, len(data))
	}
	plain := binary.BigEndian.Uint64(trailer[mapPlain:])
	if plain > math.MaxInt64 {
		return nil, fmt.Errorf("%w: %d plain bytes", ErrMap, plain)
	}
	m := &Map{
		data: data, diffID: chunk.Digest(trailer[:mapCounts]), plain: int64(plain),
		entries: int(entries), records: int(records), files: int(files),
		objects: make([]Object, objects), begins: data[begins : begins+mapOffset*entries],
	}
	return m, m.parseObjects(data[table:begins])
}

func (m *Map) parseObjects(p []byte) error {
	for i := range m.objects {
		o := &m.objects[i]
		o.Digest = chunk.Digest(p[:32])
		size := binary.BigEndian.Uint64(p[32:])
		o.Size, o.Pack = int64(size), p[40] == 1
		if size == 0 || size > chunk.MaxObject || o.Pack && size > PackMax || p[40] > 1 {
			return fmt.Errorf("%w: object %d has %d bytes", ErrMap, i, size)
		}
		p = p[mapObject:]
	}
	return nil
}

// Close gives the memory back, also that of every Entry. A second call does
// nothing.
func (m *Map) Close() error {
	data := m.data
	m.data, m.begins, m.entries = nil, nil, 0
	if data == nil {
		return nil
	}
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("close a layer map: %w", err)
	}
	return nil
}

// DiffID names the layer.
func (m *Map) DiffID() chunk.Digest { return m.diffID }

// Plain is the number of plain bytes in the layer's tar stream.
func (m *Map) Plain() int64 { return m.plain }

// Len is the number of entries.
func (m *Map) Len() int { return m.entries }

// Objects are the content objects that entries point into. The caller does not
// change them.
func (m *Map) Objects() []Object { return m.objects }
