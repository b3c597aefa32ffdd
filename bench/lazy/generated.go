//go:build linux

package main

import (
	"archive/tar"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

// largeFile is the large image's one file.
const largeFile = "data/large.bin"

// perFolder is how many files a directory of the small image has.
const perFolder = 100

// someFiles are as many as the workload of small files reads.
const someFiles = 3000

func smallFiles(quick bool) int {
	if quick {
		return 6000
	}
	return 50_000
}

func largeSize(quick bool) int64 {
	if quick {
		return 64 * mib
	}
	return 256 * mib
}

func smallName(i int) string { return fmt.Sprintf("data/%03d/file-%05d.txt", i/perFolder, i) }

// neighbours are files of directories in a row, as one package's are; scattered
// are as many all over the tree.
func neighbours(quick bool) []string {
	first := smallFiles(quick) / 2
	names := make([]string, someFiles)
	for i := range names {
		names[i] = smallName(first + i)
	}
	return names
}

func scattered(quick bool) []string {
	step := smallFiles(quick) / someFiles
	names := make([]string, someFiles)
	for i := range names {
		names[i] = smallName(i * step)
	}
	return names
}

// small is an image of n files of text, of 0.5 to 16 KiB, most of them short.
func (w *workshop) small(n int, seed uint64) (v1.Image, error) {
	words := rand.New(rand.NewPCG(seed, 1))
	entries := []testimage.Entry{testimage.Dir("data", 0o755)}
	for i := range n {
		if i%perFolder == 0 {
			entries = append(entries, testimage.Dir(fmt.Sprintf("data/%03d", i/perFolder), 0o755))
		}
		size := int(512 * math.Exp2(5*words.Float64())) // to 16 KiB, each doubling as likely
		entries = append(entries, testimage.File(smallName(i), 0o644, text(words, size)))
	}
	return w.assemble(testimage.Gzip, testimage.Tar(entries...))
}

// text is prose of invented words, which compresses about as source text does.
func text(from *rand.Rand, size int) []byte {
	p := make([]byte, 0, size+16)
	for len(p) < size {
		p = fmt.Appendf(p, "%s%s ", syllables[from.IntN(len(syllables))], syllables[from.IntN(len(syllables))])
		if from.IntN(12) == 0 {
			p = append(p, '\n')
		}
	}
	return p[:size]
}

var syllables = [...]string{
	"re", "turn", "func", "tion", "name", "file", "err", "or", "if", "else", "for", "range", "len", "byte", "string", "con",
	"text", "in", "de", "code", "read", "write", "er", "close", "open", "un", "lock", "sync", "val", "ue", "map", "list",
}

// large is an image of one file, of which half is random and half is text, in
// turns.
func (w *workshop) large(encoding testimage.Encoding) (v1.Image, error) {
	size := largeSize(w.quick)
	entry := testimage.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: largeFile, Mode: 0o644, Size: size}}
	entry.Open = func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(newTurns(), size)), nil }
	return w.assemble(encoding, testimage.Tar(testimage.Dir("data", 0o755), entry))
}

// turns is an endless stream of random bytes and text in turns of 64 KiB.
type turns struct {
	random *rand.ChaCha8
	words  *rand.Rand
	left   []byte
	odd    bool
}

func newTurns() *turns {
	return &turns{random: rand.NewChaCha8([32]byte{7}), words: rand.New(rand.NewPCG(7, 7))}
}

func (t *turns) Read(p []byte) (int, error) {
	if len(t.left) == 0 {
		if t.odd = !t.odd; t.odd {
			t.left = make([]byte, 64*kib)
			_, _ = t.random.Read(t.left)
		} else {
			t.left = text(t.words, 64*kib)
		}
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}

// many is an image of very many entries of all kinds.
func (w *workshop) many() (v1.Image, error) {
	n := 100_000
	if w.quick {
		n = 10_000
	}
	return w.assemble(testimage.Gzip, testimage.Many(n).Layers...)
}

func (w *workshop) assemble(encoding testimage.Encoding, sources ...testimage.Source) (v1.Image, error) {
	layers := make([]v1.Layer, len(sources))
	for i, source := range sources {
		var err error
		if layers[i], err = testimage.NewLayer(encoding, source); err != nil {
			return nil, err
		}
	}
	return testimage.Assemble(testimage.OCI, testimage.Config{}, layers...)
}
