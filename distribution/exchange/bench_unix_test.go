//go:build unix

package exchange

import (
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// BenchmarkFetch moves runs over loopback, one after another, and reports the
// CPU seconds a GiB that both ends took together.
func BenchmarkFetch(b *testing.B) {
	o := newObject(chunk.Size).onDisk(b)
	sums := o.Sums(0)
	for _, security := range []Security{Clear, TLS} {
		for _, blocks := range []uint32{1, 4, 16} {
			b.Run(fmt.Sprintf("%s/%dKiB", security, blocks*chunk.BlockSize>>10), func(b *testing.B) {
				from, _ := serve(b, configOf(security), storeOf(o))
				o.known = sums
				client := newTestClient(b, configOf(security), networkKey)
				run, n := distribution.Span{N: blocks}, int64(blocks)*chunk.BlockSize
				digest := o.digest()
				buf := make([]byte, chunk.BlockSize)
				ctx := b.Context()
				b.SetBytes(n)
				b.ReportAllocs()
				start := cpuTime(b)
				for b.Loop() {
					tr, err := client.Fetch(ctx, from, distribution.Run{Object: digest, Size: o.Size(), Span: run})
					if err != nil {
						b.Fatal(err)
					}
					for left := n; left > 0; left -= chunk.BlockSize {
						if _, err := io.ReadFull(tr.Body, buf); err != nil {
							b.Fatal(err)
						}
					}
					tr.Body.Close()
				}
				b.ReportMetric((cpuTime(b)-start).Seconds()/(float64(n)*float64(b.N)/(1<<30)), "cpu-s/GiB")
			})
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
