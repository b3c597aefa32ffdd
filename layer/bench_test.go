package layer

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/testimage"
)

// hashingSink does what a store must do of its own, and keeps nothing: it names
// objects and digests their blocks.
type hashingSink struct{}

func (hashingSink) Put(data []byte) (chunk.Digest, error) {
	chunk.SumBlocks(data).Digest()
	return chunk.SumBytes(data), nil
}

func (hashingSink) Ingest(int64) (Ingest, error) {
	return &hashingIngest{whole: sha256.New(), block: sha256.New()}, nil
}

type hashingIngest struct {
	whole, block hash.Hash
	n            int
}

func (i *hashingIngest) Write(p []byte) (int, error) {
	length := len(p)
	i.whole.Write(p)
	for len(p) > 0 {
		n := min(len(p), chunk.BlockSize-i.n)
		i.block.Write(p[:n])
		if i.n += n; i.n == chunk.BlockSize {
			i.block.Sum(nil)
			i.block.Reset()
			i.n = 0
		}
		p = p[n:]
	}
	return length, nil
}

func (i *hashingIngest) Commit() (chunk.Digest, error) {
	return chunk.Digest(i.whole.Sum(nil)), nil
}

func (i *hashingIngest) Abort() error { return nil }

// benchLayer is a layer's blob, with what is known of it.
type benchLayer struct {
	blob []byte
	d    Descriptor
}

func goTree(b *testing.B, enc testimage.Encoding) (layers []benchLayer) {
	b.Helper()
	img, err := testimage.GoTree(b.Context(), enc)
	if err != nil {
		b.Skip("SKIP: no Go tree: ", err)
	}
	all, err := img.Layers()
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range all {
		r, err := l.Compressed()
		if err != nil {
			b.Fatal(err)
		}
		blob, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			b.Fatal(err)
		}
		id, err := l.DiffID()
		if err != nil {
			b.Fatal(err)
		}
		diffID, err := chunk.ParseDigest(id.String())
		if err != nil {
			b.Fatal(err)
		}
		layers = append(layers, benchLayer{blob: blob, d: Descriptor{chunk.SumBytes(blob), int64(len(blob)), diffID}})
	}
	return layers
}

// cpuSeconds is what the process has used of all cores.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkBuild maps the Go toolchain's tree. MB/s is by the clock, MB/cpu-s by
// the time of all cores together.
func BenchmarkBuild(b *testing.B) {
	for _, enc := range []testimage.Encoding{testimage.Plain, testimage.Gzip, testimage.Zstd} {
		b.Run(string(enc), func(b *testing.B) {
			layers := goTree(b, enc)
			path := filepath.Join(b.TempDir(), "map")
			var plain int64
			b.ReportAllocs()
			begin := cpuSeconds(b)
			for b.Loop() {
				for _, l := range layers {
					sum, err := Build(b.Context(), bytes.NewReader(l.blob), l.d, hashingSink{}, nil, DefaultLimits(), path)
					if err != nil {
						b.Fatal(err)
					}
					plain += sum.Plain
				}
			}
			b.SetBytes(plain / int64(b.N))
			b.ReportMetric(float64(plain)/1e6/(cpuSeconds(b)-begin), "MB/cpu-s")
		})
	}
}

// BenchmarkSideBySide maps the layers of the Go tree all at once.
func BenchmarkSideBySide(b *testing.B) {
	layers := goTree(b, testimage.Gzip)
	folder := b.TempDir()
	var plain int64
	for b.Loop() {
		var running sync.WaitGroup
		sums := make([]*Summary, len(layers))
		for i, l := range layers {
			running.Go(func() {
				var err error
				path := filepath.Join(folder, l.d.DiffID.Hex())
				if sums[i], err = Build(b.Context(), bytes.NewReader(l.blob), l.d, hashingSink{}, nil, DefaultLimits(), path); err != nil {
					b.Error(err)
				}
			})
		}
		running.Wait()
		for _, sum := range sums {
			if sum != nil {
				plain += sum.Plain
			}
		}
	}
	b.SetBytes(plain / int64(b.N))
}

// BenchmarkEntries reads all entries of a map in order.
func BenchmarkEntries(b *testing.B) {
	m, _ := mustBuild(b, tarOf(b, smallFiles(1, 5000)...), hashingSink{}, nil)
	var e Entry
	b.ReportAllocs()
	for b.Loop() {
		for i := range m.Len() {
			if err := m.Entry(i, &e); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*m.Len()), "ns/entry")
}
