package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/shoal-project/shoal/chunk"
)

// sampleMap is a map file with every kind of record.
func sampleMap(t testing.TB) []byte {
	t.Helper()
	attributes := map[string]string{"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "22"}
	members := slices.Concat(smallFiles(1, 5), []member{
		dir("d"), file("inline", []byte("x")), file("zeros", make([]byte, 5<<20)), file("large", random(1, 1<<20)),
		file("holed", slices.Concat(make([]byte, 4<<20), random(2, 10))),
		{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "target", PAXRecords: attributes}},
		{Header: tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "large"}},
		{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev", Devmajor: 1, Devminor: 3}},
		file(".wh.gone", nil), file("d/.wh..wh..opq", nil),
	})
	m, _ := mustBuild(t, tarOf(t, members...), newMemSink(), nil)
	return bytes.Clone(m.data)
}

// resum makes the checksum right again.
func resum(p []byte) []byte {
	if len(p) < sha256.Size {
		return p
	}
	sum := sha256.Sum256(p[:len(p)-sha256.Size])
	copy(p[len(p)-sha256.Size:], sum[:])
	return p
}

func openBytes(t testing.TB, p []byte) (*Map, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return OpenMap(path)
}

func TestMapIsDamaged(t *testing.T) {
	good := sampleMap(t)
	for i := 0; i < len(good); i += 1 + len(good)/500 {
		p := bytes.Clone(good)
		p[i] ^= 0x20
		if _, err := openBytes(t, p); !errors.Is(err, ErrMap) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for _, n := range []int{0, 1, mapHeader + mapTrailer - 1, len(good) / 2, len(good) - 1} {
		if _, err := openBytes(t, good[:n]); !errors.Is(err, ErrMap) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := OpenMap(t.TempDir()); !errors.Is(err, ErrMap) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := OpenMap(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A map may be made by anybody, its checksum with it: what entries say is checked
// when they are read.
func TestMapLies(t *testing.T) {
	good := sampleMap(t)
	m, err := parseMap(good)
	if err != nil {
		t.Fatal(err)
	}
	record := func(i int) int { return int(binary.BigEndian.Uint32(m.begins[mapOffset*i:])) * mapAlign }
	begins := len(good) - mapTrailer - mapOffset*m.entries
	for name, c := range map[string]struct {
		entry int
		set   func(p, r []byte)
	}{
		"beyond":        {0, func(p, r []byte) { binary.BigEndian.PutUint32(p[begins:], 1<<32-1) }},
		"in header":     {0, func(p, r []byte) { binary.BigEndian.PutUint32(p[begins:], 0) }},
		"type":          {0, func(p, r []byte) { r[recType] = 77 }},
		"mode":          {0, func(p, r []byte) { r[recMode] = 0xff }},
		"nanoseconds":   {0, func(p, r []byte) { r[recNsec] = 0xff }},
		"no such file":  {0, func(p, r []byte) { binary.BigEndian.PutUint32(r[recFile:], 1<<20) }},
		"no bytes":      {0, func(p, r []byte) { binary.BigEndian.PutUint32(r[recFile:], noFile) }},
		"other object":  {0, func(p, r []byte) { p[m.records+32] = 9 }},
		"unaligned":     {0, func(p, r []byte) { p[m.records+39] = 1 }},
		"past the pack": {0, func(p, r []byte) { r[recSize+5] = 0xff }},
		"huge":          {0, func(p, r []byte) { r[recSize] = 0xff }},
		"escape":        {0, func(p, r []byte) { copy(r[recordSize:], "../") }},
		"absolute":      {0, func(p, r []byte) { r[recordSize] = '/' }},
		"NUL":           {0, func(p, r []byte) { r[recordSize] = 0 }},
		"root":          {0, func(p, r []byte) { binary.BigEndian.PutUint16(r[recPath:], 0) }},
		"path too long": {0, func(p, r []byte) { binary.BigEndian.PutUint16(r[recPath:], 1<<16-1) }},
		"two places":    {0, func(p, r []byte) { binary.BigEndian.PutUint16(r[recInline:], 1) }},
		"dir with file": {5, func(p, r []byte) { binary.BigEndian.PutUint32(r[recFile:], 0) }},
		"dir with size": {5, func(p, r []byte) { r[recSize] = 1 }},
		"inline size":   {6, func(p, r []byte) { r[recSize+7] = 2 }},
		"holes past it": {7, func(p, r []byte) { r[recordSize+len("zeros")] = 0xff }},
		"few holes":     {7, func(p, r []byte) { r[recordSize+len("zeros")] = 1 }},
		"no holes":      {7, func(p, r []byte) { r[recordSize+len("zeros")] = 0 }},
		"wrong tail":    {9, func(p, r []byte) { binary.BigEndian.PutUint16(r[recInline:], 9) }},
		"large in part": {8, func(p, r []byte) { r[recSize+7] = 1 }},
		"no target":     {10, func(p, r []byte) { binary.BigEndian.PutUint16(r[recTarget:], 0) }},
		"attributes":    {10, func(p, r []byte) { r[recordSize+len("linktarget")] = 200 }},
		"no name":       {10, func(p, r []byte) { r[recordSize+len("linktarget")] = 0 }},
		"order":         {10, func(p, r []byte) { r[recordSize+len("linktarget")+6] = 'c' }},
		"link escapes":  {11, func(p, r []byte) { copy(r[recordSize+len("hard"):], "../ab") }},
		"whiteout size": {13, func(p, r []byte) { r[recSize] = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			p := bytes.Clone(good)
			c.set(p, p[record(c.entry):])
			m, err := openBytes(t, resum(p))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.Entry(c.entry, &Entry{}); !errors.Is(err, ErrMap) {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, set := range map[string]func(p []byte){
		"entries": func(p []byte) { p[len(p)-mapTrailer+mapCounts] = 0xff },
		"files":   func(p []byte) { p[len(p)-mapTrailer+mapCounts+4] = 0xff },
		"objects": func(p []byte) { p[len(p)-mapTrailer+mapCounts+8] = 0xff },
		"object":  func(p []byte) { p[begins-mapObject+32] = 0xff },
		"no size": func(p []byte) { clear(p[begins-mapObject+32 : begins-mapObject+40]) },
		"no pack": func(p []byte) { p[begins-mapObject+40] = 2 },
	} {
		p := bytes.Clone(good)
		set(p)
		if _, err := openBytes(t, resum(p)); !errors.Is(err, ErrMap) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMapEnds(t *testing.T) {
	m, err := openBytes(t, sampleMap(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, m.Len()} {
		if err := m.Entry(i, &Entry{}); !errors.Is(err, ErrMap) {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := m.Entry(0, &Entry{}); !errors.Is(err, ErrMap) {
		t.Errorf("after Close: %v", err)
	}
}

// checkEntry asserts what Entry promises, whatever the map says.
func checkEntry(t *testing.T, m *Map, e *Entry) {
	t.Helper()
	for _, p := range []string{e.Path, e.Target} {
		if e.Type == Symlink && p == e.Target {
			continue
		}
		if clean, err := cleanPath(p); err != nil || clean != p {
			t.Errorf("path %q", p)
		}
	}
	if e.Size < 0 || e.Size > chunk.MaxObject || e.Mode > 0o7777 || len(e.Inline) > max(InlineFile, PackAlign-1) || strings.Contains(e.Target, "\x00") {
		t.Errorf("entry %+v", e)
	}
	if e.Object >= 0 {
		o := m.Objects()[e.Object]
		if e.Type != Regular || e.Offset < 0 || e.Offset%PackAlign != 0 || e.Offset+e.Size > o.Size || o.Pack && e.Inline != nil {
			t.Errorf("%d bytes at %d of %+v", e.Size, e.Offset, o)
		}
	}
	if e.Holes != nil && e.Holes.Len() != chunk.Count(e.Size) {
		t.Errorf("%d holes for %d bytes", e.Holes.Len(), e.Size)
	}
}

func FuzzMap(f *testing.F) {
	good := sampleMap(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	empty, _ := mustBuild(f, tarOf(f), newMemSink(), nil)
	f.Add(bytes.Clone(empty.data))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseMap(resum(bytes.Clone(p)))
		if err != nil {
			if !errors.Is(err, ErrMap) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		var e Entry
		for i := range m.Len() {
			if err := m.Entry(i, &e); err == nil {
				checkEntry(t, m, &e)
			} else if !errors.Is(err, ErrMap) {
				t.Errorf("an error of another kind: %v", err)
			}
		}
	})
}

func FuzzBuild(f *testing.F) {
	good := tarOf(f, append(smallFiles(1, 3), dir("../d"), file("x/.wh.y", nil), file("zeros", make([]byte, 300)))...)
	attributed := tarOf(f, member{Header: tar.Header{Name: strings.Repeat("long/", 60), PAXRecords: map[string]string{"SCHILY.xattr.user.a": "1"}}})
	f.Add(good)
	f.Add(attributed)
	f.Add(gzipped(f, attributed, func(*gzip.Header) {}))
	f.Add(zstded(f, attributed))
	f.Add(sparseTar(1500<<10, random(1, 512)))
	for _, form := range []string{"gnu", "0.0", "0.1", "1.0"} {
		blob, plain := unzipped(f, filepath.Join("testdata", "sparse-"+form+".tar.gz"))
		f.Add(blob)
		f.Add(plain[:2048])
	}
	limits := Limits{Plain: 2 << 20, Entries: 1000, Name: 4095, Target: 4095, Xattrs: 1 << 16, Window: 1 << 20}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, blob []byte) {
		path := filepath.Join(folder, "map")
		d := Descriptor{Size: int64(len(blob)), DiffID: plainDigest(t, blob)}
		sink := newMemSink()
		sum, err := Build(t.Context(), bytes.NewReader(blob), d, sink, nil, limits, path)
		if sink.open != 0 {
			t.Errorf("%d large files left open", sink.open)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrHostile) && !errors.Is(err, ErrDiffID) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		m, err := OpenMap(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if int64(m.Len()) != sum.Entries {
			t.Errorf("%d entries of %d", m.Len(), sum.Entries)
		}
		for _, e := range allEntries(t, m) {
			checkEntry(t, m, &e)
			bytesOf(t, m, sink, &e)
		}
	})
}

// plainDigest is the diffID that a blob has, if it can be decompressed.
func plainDigest(t testing.TB, blob []byte) chunk.Digest {
	p := startPlain(t.Context(), bytes.NewReader(blob), &Limits{Plain: 2 << 20, Window: 1 << 20})
	defer p.stop()
	d, err := p.drain()
	if err != nil {
		return chunk.Digest{}
	}
	return d
}
