package layer

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// member is one entry of a test's tar stream.
type member struct {
	tar.Header
	data []byte
}

func file(name string, data []byte) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func dir(name string) member {
	return member{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// random bytes are the same for the same seed.
func random(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// buildBlob maps a blob whose plain bytes are given.
func buildBlob(t testing.TB, blob, plain []byte, sink Sink, known Known, limits Limits) (*Map, *Summary, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "map")
	d := Descriptor{Blob: chunk.SumBytes(blob), Size: int64(len(blob)), DiffID: chunk.SumBytes(plain)}
	sum, err := Build(t.Context(), bytes.NewReader(blob), d, sink, known, limits, path)
	left, globErr := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if globErr != nil {
		t.Fatal(globErr)
	}
	if err != nil {
		if len(left) > 0 {
			t.Errorf("a failed build left %q", left)
		}
		return nil, nil, err
	}
	if len(left) != 1 {
		t.Errorf("a build left %q", left)
	}
	m, err := OpenMap(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if m.DiffID() != d.DiffID || int64(m.Len()) != sum.Entries || len(m.Objects()) != sum.Objects {
		t.Errorf("the map has %d entries and %d objects of %s; the summary says %+v", m.Len(), len(m.Objects()), m.DiffID(), sum)
	}
	return m, sum, nil
}

// mustBuild maps an uncompressed layer.
func mustBuild(t testing.TB, plain []byte, sink Sink, known Known) (*Map, *Summary) {
	t.Helper()
	m, sum, err := buildBlob(t, plain, plain, sink, known, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return m, sum
}

func allEntries(t testing.TB, m *Map) []Entry {
	t.Helper()
	entries := make([]Entry, m.Len())
	for i := range entries {
		if err := m.Entry(i, &entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	return entries
}

// bytesOf gives a regular file's bytes back as a reader of the map would.
func bytesOf(t testing.TB, m *Map, sink *memSink, e *Entry) []byte {
	t.Helper()
	switch {
	case e.Object >= 0:
		o := m.Objects()[e.Object]
		data := sink.objects[o.Digest]
		if int64(len(data)) != o.Size {
			t.Fatalf("object %s has %d bytes in the sink, not %d", o.Digest, len(data), o.Size)
		}
		data = data[e.Offset : e.Offset+e.Size]
		if chunk.SumBytes(data) != e.File {
			t.Errorf("%q: its bytes are not those of %s", e.Path, e.File)
		}
		return data
	case e.Inline != nil:
		return e.Inline
	case e.Size > 0 && !e.Holes.Full():
		t.Fatalf("%q has no bytes", e.Path)
	}
	return make([]byte, e.Size)
}

func TestEveryKindOfEntry(t *testing.T) {
	stamp := time.Unix(-1_000_000_001, 123_456_789)
	attributes := map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\xff", "SCHILY.xattr.user.empty": "", "comment": "none"}
	odd := "odd/\xff\xfe\n" + strings.Repeat("n", 252)
	target := strings.Repeat("/target", 4000/7)
	small := random(1, 3000)
	plain := tarOf(t,
		member{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}}},
		dir("./"), dir("./usr/"),
		member{tar.Header{Typeflag: tar.TypeReg, Name: "/usr//./bin/../tool", Mode: 0o6755, Uid: 100_000, Gid: 3_000_000_000, Size: 3000,
			ModTime: stamp, PAXRecords: attributes, Format: tar.FormatPAX}, small},
		member{Header: tar.Header{Typeflag: tar.TypeLink, Name: "usr/again", Linkname: "./usr/tool", Mode: 0o600}},
		member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "no/parent", Linkname: target, Mode: 0o777}},
		member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "up", Linkname: "../../../etc"}},
		member{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
		member{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev/disk", Mode: 0o660, Devmajor: 259, Devminor: 1_000_000}},
		member{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "dev/pipe", Mode: 0o1600}},
		file("etc/.wh.removed", nil), dir("etc/.wh.tree"), file("etc/.wh..wh..opq", nil), file(".wh..wh..opq", nil),
		file(".wh..wh.plnk/12.34", []byte("x")), dir(".wh..wh.aufs"), file("etc/.wh..wh.other", nil),
		file(odd, []byte("inline")), file("twice", []byte("1")), file("twice", []byte("22")), file("empty", nil),
		file(".wh.file/below", []byte("kept")),
		file("etc/.wh."+strings.Repeat("w", 255), nil),
	)
	m, _ := mustBuild(t, plain, newMemSink(), nil)
	want := []Entry{
		{Type: Dir, Mode: 0o755},
		{Path: "usr", Type: Dir, Mode: 0o755},
		{Path: "usr/tool", Type: Regular, Mode: 0o6755, UID: 100_000, GID: 3_000_000_000, Sec: -1_000_000_001, Nsec: 123_456_789, Size: 3000,
			File: chunk.SumBytes(small), Xattrs: []erofs.Xattr{{Name: "security.capability", Value: []byte("\x01\x00\xff")}, {Name: "user.empty"}}},
		{Path: "usr/again", Type: HardLink, Target: "usr/tool", Mode: 0o600},
		{Path: "no/parent", Type: Symlink, Target: target, Mode: 0o777},
		{Path: "up", Type: Symlink, Target: "../../../etc"},
		{Path: "dev/null", Type: Char, Mode: 0o666, Rdev: 0x103},
		{Path: "dev/disk", Type: Block, Mode: 0o660, Rdev: 0xf4210340},
		{Path: "dev/pipe", Type: Fifo, Mode: 0o1600},
		{Path: "etc/removed", Type: Whiteout},
		{Path: "etc/tree", Type: Whiteout},
		{Path: "etc", Type: Opaque},
		{Type: Opaque},
		{Path: "etc/.wh.other", Type: Whiteout},
		{Path: odd, Type: Regular, Mode: 0o644, Size: 6, Inline: []byte("inline")},
		{Path: "twice", Type: Regular, Mode: 0o644, Size: 1, Inline: []byte("1")},
		{Path: "twice", Type: Regular, Mode: 0o644, Size: 2, Inline: []byte("22")},
		{Path: "empty", Type: Regular, Mode: 0o644},
		{Path: ".wh.file/below", Type: Regular, Mode: 0o644, Size: 4, Inline: []byte("kept")},
		{Path: "etc/" + strings.Repeat("w", 255), Type: Whiteout},
	}
	for i := range want {
		if want[i].File.IsZero() {
			want[i].Object = -1
		}
	}
	equal := cmp.Comparer(func(a, b erofs.Xattr) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) })
	noXattrs := cmp.Transformer("nil", func(x []erofs.Xattr) []erofs.Xattr { return append([]erofs.Xattr{}, x...) })
	if diff := cmp.Diff(want, allEntries(t, m), equal, cmp.FilterPath(isXattrs, cmp.Options{noXattrs})); diff != "" {
		t.Error(diff)
	}
}

func isXattrs(p cmp.Path) bool { return p.Last().String() == ".Xattrs" && len(p) == 3 }

func TestContent(t *testing.T) {
	zeros := make([]byte, 9<<20)
	holed := slices.Concat(zeros[:8<<20], random(2, 100), zeros[:5<<20])
	contents := map[string][]byte{
		"empty": nil, "inline": random(3, InlineFile), "inline zeros": zeros[:10],
		"small": random(4, InlineFile+1), "small again": random(4, InlineFile+1), "small zeros": zeros[:5000],
		"below": random(5, LargeFile-1), "large": random(6, LargeFile), "large again": random(6, LargeFile),
		"chunks": random(7, 2*chunk.Size), "zeros": zeros, "holed": holed, "tail": slices.Concat(random(8, 4<<20), zeros[:1]),
	}
	var members []member
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range contents {
			if !yield(name) {
				return
			}
		}
	}) {
		members = append(members, file(name, contents[name]))
	}
	sink := newMemSink()
	m, sum := mustBuild(t, tarOf(t, members...), sink, nil)
	holes := map[string][]int{}
	for _, e := range allEntries(t, m) {
		if !bytes.Equal(bytesOf(t, m, sink, &e), contents[e.Path]) {
			t.Errorf("%q has other bytes", e.Path)
		}
		tail := contents[e.Path][len(contents[e.Path])&^(PackAlign-1):]
		if e.Object >= 0 && !m.Objects()[e.Object].Pack && !bytes.Equal(e.Inline, tail) {
			t.Errorf("%q has %d bytes behind its last block, not %d", e.Path, len(e.Inline), len(tail))
		}
		if e.Holes != nil {
			for i := range e.Holes.Len() {
				if e.Holes.Has(i) {
					holes[e.Path] = append(holes[e.Path], i)
				}
			}
		}
	}
	wantHoles := map[string][]int{"small zeros": {0}, "zeros": {0, 1, 2}, "holed": {0, 1, 3}, "tail": {1}}
	if diff := cmp.Diff(wantHoles, holes); diff != "" {
		t.Error(diff)
	}
	if sum.Packs != 1 || sum.Large != 4 || len(sink.objects) != 5 || sink.open != 0 {
		t.Errorf("%+v, %d objects in the sink, %d left open", sum, len(sink.objects), sink.open)
	}
}

func gzipped(t testing.TB, p []byte, set func(*gzip.Header)) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	set(&w.Header)
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// everyFlag is a member whose header has all its optional parts: text, header
// checksum, extra field, name and comment.
func everyFlag(t testing.TB, p []byte) []byte {
	t.Helper()
	bare := gzipped(t, p, func(*gzip.Header) {})
	header := []byte{0x1f, 0x8b, 8, 0x1f, 1, 2, 3, 4, 2, 255, 3, 0, 'e', 'x', 't'}
	header = append(header, "name\xff\x00comment\x00"...)
	header = binary.LittleEndian.AppendUint16(header, uint16(crc32.ChecksumIEEE(header)))
	return append(header, bare[10:]...)
}

func zstded(t testing.TB, p []byte, options ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(p, nil)
}

// What comes after the end of the archive counts for the diffID.
func TestEncodings(t *testing.T) {
	plain := slices.Concat(tarOf(t, file("a", random(1, 100_000)), file("b", random(2, 2<<20))), make([]byte, 9999), []byte("and more"))
	cut := len(plain) / 3
	none := func(*gzip.Header) {}
	odd := func(h *gzip.Header) {
		h.Name, h.Comment, h.Extra, h.ModTime, h.OS = strings.Repeat("n", 200), "comment", random(9, 60_000), time.Unix(1, 0), 7
	}
	skip := slices.Concat([]byte{0x5e, 0x2a, 0x4d, 0x18, 5, 0, 0, 0}, []byte("hello"))
	encodings := map[string][]byte{
		"plain":               plain,
		"gzip":                gzipped(t, plain, none),
		"gzip members":        slices.Concat(gzipped(t, plain[:cut], odd), gzipped(t, nil, none), gzipped(t, plain[cut:], odd)),
		"gzip every flag":     everyFlag(t, plain),
		"zstd":                zstded(t, plain),
		"zstd frames":         slices.Concat(zstded(t, plain[:cut]), skip, zstded(t, nil), zstded(t, plain[cut:]), skip),
		"zstd skippable head": slices.Concat(skip, zstded(t, plain)),
	}
	for name, blob := range encodings {
		t.Run(name, func(t *testing.T) {
			sink := newMemSink()
			m, sum, err := buildBlob(t, blob, plain, sink, nil, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if want, _, _ := strings.Cut(name, " "); sum.Encoding != want || sum.Plain != int64(len(plain)) || sum.Blob != int64(len(blob)) {
				t.Errorf("summary %+v", sum)
			}
			for i, e := range allEntries(t, m) {
				if got := bytesOf(t, m, sink, &e); !bytes.Equal(got, random(byte(i+1), len(got))) {
					t.Errorf("%q has other bytes", e.Path)
				}
			}
		})
	}
}

// Layers are mapped side by side into one sink.
func TestSideBySide(t *testing.T) {
	sink := newMemSink()
	for i := range 6 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			members := append(smallFiles(byte(i%3), 400), file("large", random(byte(i), 3<<20)))
			plain := tarOf(t, members...)
			m, _, err := buildBlob(t, zstded(t, plain), plain, sink, nil, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			sink.mu.Lock()
			defer sink.mu.Unlock()
			checkContent(t, m, sink, members)
		})
	}
}
