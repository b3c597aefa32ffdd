package diskstore

import (
	"encoding/binary"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// benchSize is what one round writes or reads; 16 workers share it.
const (
	benchSize    = 256 << 20
	benchWorkers = 16
)

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// eachChunk calls do for all chunks of a benchSize object from several
// goroutines.
func eachChunk(do func(i int)) {
	var wg sync.WaitGroup
	for worker := range benchWorkers {
		wg.Go(func() {
			for i := worker; i < chunk.Count(benchSize); i += benchWorkers {
				do(i)
			}
		})
	}
	wg.Wait()
}

func reportCPU(b *testing.B, before float64) {
	gib := float64(b.N) * benchSize / (1 << 30)
	b.ReportMetric((cpuSeconds()-before)/gib, "cpu-s/GiB")
}

// fillBench writes one object in blocks and puts its chunks; all chunks have
// the same bytes, so that no time goes into making them.
func fillBench(b *testing.B, o chunk.Object, data []byte, sums chunk.Sums) {
	eachChunk(func(i int) {
		for at := 0; at < len(data); at += chunk.BlockSize {
			if _, err := o.WriteAt(data[at:at+chunk.BlockSize], int64(i)*chunk.Size+int64(at)); err != nil {
				b.Error(err)
			}
		}
		if err := o.Put(i, sums); err != nil {
			b.Error(err)
		}
	})
}

func benchDigest(n int) (d chunk.Digest) {
	binary.BigEndian.PutUint64(d[8:], uint64(n))
	return d
}

func BenchmarkWrite(b *testing.B) {
	s := openStore(b, benchDir(b), Default())
	c := storetest.NewContent(1, chunk.Size)
	sums := c.Sums(0)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	before := cpuSeconds()
	for n := 0; b.Loop(); n++ {
		o, err := s.Create(benchDigest(n), benchSize)
		if err != nil {
			b.Fatal(err)
		}
		fillBench(b, o, c.Bytes, sums)
		o.Close()
		b.StopTimer()
		if err := s.Remove(benchDigest(n)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	reportCPU(b, before)
}

// BenchmarkIngest writes one object whose name is not known: every byte is
// hashed twice.
func BenchmarkIngest(b *testing.B) {
	s := openStore(b, benchDir(b), Default())
	c := storetest.NewContent(1, chunk.Size)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	before := cpuSeconds()
	for b.Loop() {
		in, err := s.Ingest(benchSize)
		if err != nil {
			b.Fatal(err)
		}
		for range benchSize / chunk.Size {
			if _, err := in.Write(c.Bytes); err != nil {
				b.Fatal(err)
			}
		}
		o, err := in.Commit()
		if err != nil {
			b.Fatal(err)
		}
		o.Close()
		b.StopTimer()
		if err := s.Remove(o.Digest()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	reportCPU(b, before)
}

func BenchmarkRead(b *testing.B) {
	s := openStore(b, benchDir(b), Default())
	c := storetest.NewContent(1, chunk.Size)
	o, err := s.Create(benchDigest(0), benchSize)
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	fillBench(b, o, c.Bytes, c.Sums(0))
	var buffers sync.Pool
	buffers.New = func() any { return new([chunk.BlockSize]byte) }
	b.SetBytes(benchSize)
	b.ReportAllocs()
	before := cpuSeconds()
	for b.Loop() {
		eachChunk(func(i int) {
			buf := buffers.Get().(*[chunk.BlockSize]byte)
			defer buffers.Put(buf)
			for at := int64(0); at < chunk.Size; at += chunk.BlockSize {
				if _, err := o.ReadAt(buf[:], int64(i)*chunk.Size+at); err != nil {
					b.Error(err)
				}
			}
		})
	}
	reportCPU(b, before)
}

// BenchmarkOpen opens a store of 10,000 objects.
func BenchmarkOpen(b *testing.B) {
	dir := benchDir(b)
	s := openStore(b, dir, quiet())
	c := storetest.NewContent(1, 100)
	sums := c.Sums(0)
	for n := range 10_000 {
		d := benchDigest(n)
		d[0] = byte(n)
		o, err := s.Create(d, c.Size())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.WriteAt(c.Bytes, 0); err != nil {
			b.Fatal(err)
		}
		if err := o.Put(0, sums); err != nil {
			b.Fatal(err)
		}
		// Taken from the queue at once: 10,000 fdatasyncs are not what is measured.
		s.settled(o.(*handle).object)
		o.Close()
	}
	s.Close()
	for b.Loop() {
		s, err := Open(dir, quiet(), s.log, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

// benchDir is a directory on the file system that SHOAL_BENCH_DIR names, or on
// that of temporary files.
func benchDir(b *testing.B) string {
	root := os.Getenv("SHOAL_BENCH_DIR")
	if root == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(root, "store-*")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
