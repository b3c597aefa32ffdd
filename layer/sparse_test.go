package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/shoal-project/shoal/chunk"
)

// sparseContent is the file that GNU tar put into testdata/sparse-*.tar.gz, in
// each of its formats, before a hole of 6 MiB.
func sparseContent() []byte {
	p := make([]byte, 20<<20+123)
	for i := range 30 {
		copy(p[i*600_000+i%3*4096:], bytes.Repeat([]byte{byte(i + 1)}, 100+i*7))
	}
	return p
}

func unzipped(t testing.TB, path string) (blob, plain []byte) {
	t.Helper()
	blob, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return blob, plain
}

func TestSparseForms(t *testing.T) {
	want := sparseContent()
	for _, form := range []string{"gnu", "0.0", "0.1", "1.0"} {
		t.Run(form, func(t *testing.T) {
			blob, plain := unzipped(t, filepath.Join("testdata", "sparse-"+form+".tar.gz"))
			sink := newMemSink()
			m, sum, err := buildBlob(t, blob, plain, sink, nil, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			entries := allEntries(t, m)
			if len(entries) != 2 || entries[0].Path != "sparse" || entries[1].Path != "hole" {
				t.Fatalf("entries %+v", entries)
			}
			if !bytes.Equal(bytesOf(t, m, sink, &entries[0]), want) {
				t.Error("the sparse file has other bytes")
			}
			if hole := entries[1]; hole.Size != 6<<20 || hole.Object != -1 || !hole.Holes.Full() || len(sink.objects) != 1 {
				t.Errorf("the hole is %+v, and there are %d objects", hole, len(sink.objects))
			}
			if sum.Files != int64(len(want))+6<<20 || sum.Plain != int64(len(plain)) {
				t.Errorf("summary %+v", sum)
			}
		})
	}
}

// countingSink takes large files without keeping them.
type countingSink struct {
	memSink
	content, zeros int64
}

func (s *countingSink) Ingest(size int64) (Ingest, error) { return &countingIngest{s, size}, nil }

type countingIngest struct {
	sink *countingSink
	left int64
}

func (i *countingIngest) Write(p []byte) (int, error) {
	i.left -= int64(len(p))
	if isZero(p) {
		i.sink.zeros += int64(len(p))
	} else {
		i.sink.content += int64(len(p))
	}
	return len(p), nil
}

func (i *countingIngest) Commit() (chunk.Digest, error) {
	if i.left != 0 {
		return chunk.Digest{}, fmt.Errorf("%d bytes missing", i.left)
	}
	return chunk.Digest{1}, nil
}

func (i *countingIngest) Abort() error { return nil }

// sparseTar is a file of size bytes in the oldest sparse form, with 512 bytes of
// content in the middle; with none, a hole alone.
func sparseTar(size int64, content []byte) []byte {
	h := make([]byte, 512)
	copy(h, "huge")
	for at, text := range map[int]string{100: "0000644\x00", 108: "0000000\x00", 116: "0000000\x00", 136: "00000000000\x00", 257: "ustar  \x00"} {
		copy(h[at:], text)
	}
	copy(h[124:], fmt.Sprintf("%011o\x00", len(content)))
	h[156] = 'S'
	if len(content) > 0 {
		copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", size/2, len(content)))
	}
	// The sizes may exceed 8 GiB: base 256.
	copy(h[483:], []byte{0x80, 0, 0, 0, byte(size >> 56), byte(size >> 48), byte(size >> 40), byte(size >> 32), byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return append(append(h, content...), make([]byte, 1024)...)
}

func TestHugeSparseFile(t *testing.T) {
	const size = 20 << 30
	if testing.Short() {
		t.Skip("SKIP: reads 20 GiB of zeros; run without -short")
	}
	plain := sparseTar(3<<30, random(1, 512))
	sink := &countingSink{}
	m, sum, err := buildBlob(t, plain, plain, sink, nil, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	e := allEntries(t, m)[0]
	if e.Size != 3<<30 || e.Holes.Count() != e.Holes.Len()-1 || sink.content != chunk.BlockSize || sum.Plain != int64(len(plain)) {
		t.Errorf("size %d, %d of %d pieces are holes, %d bytes of content", e.Size, e.Holes.Count(), e.Holes.Len(), sink.content)
	}
	plain = sparseTar(size, nil)
	m, _, err = buildBlob(t, plain, plain, &memSink{fail: errors.New("nothing to put")}, nil, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if e := allEntries(t, m)[0]; e.Size != size || !e.Holes.Full() || e.Object != -1 {
		t.Errorf("a hole of 20 GiB became %+v", e)
	}
	plain = sparseTar(1<<40, nil)
	if _, _, err = buildBlob(t, plain, plain, newMemSink(), nil, DefaultLimits()); !errors.Is(err, ErrLimit) {
		t.Errorf("a hole of 1 TiB: %v", err)
	}
}
