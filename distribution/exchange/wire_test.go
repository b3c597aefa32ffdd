package exchange

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func TestRangesAreWholeBlocksOfOneChunk(t *testing.T) {
	const size = odd
	for s, want := range map[string]extent{
		"bytes=0-262143":        {0, chunk.BlockSize},
		"bytes=0-4194303":       {0, chunk.Size},
		"bytes=4980736-4980812": {chunk.Size + 3*chunk.BlockSize, 77},
		"bytes=4194304-4980812": {chunk.Size, odd - chunk.Size},
	} {
		got, err := parseRange(s, size)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "bytes=", "bytes=-", "bytes=0-", "bytes=-262144", "bytes=0-0", "bytes=1-262143", "bytes=0-262142",
		"bytes=0-4456447", "bytes=262144-262143", "bytes=0-4980813", "bytes=4980736-5242879", "bytes=00-262143",
		"bytes=+0-262143", "bytes= 0-262143", "bytes=0-262143,262144-524287", "Bytes=0-262143", "bytes=0-262143 ",
		"bytes=0-99999999999999999999", "bytes=-1-262143", "items=0-262143",
	} {
		if got, err := parseRange(s, size); !errors.Is(err, errRange) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestSumsHeader(t *testing.T) {
	want := chunk.SumBlocks(make([]byte, odd-chunk.Size))
	text, err := formatSums(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseSums(text, odd, 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseSums(text, odd, 0); !errors.Is(err, errSums) {
		t.Errorf("sums of another chunk: %v", err)
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-262143", int64(odd))
	f.Add("bytes=4980736-4980812", int64(odd))
	f.Add("bytes=0-", int64(1))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		size = max(0, size%(chunk.MaxObject+1))
		e, err := parseRange(s, size)
		if err != nil {
			return
		}
		if e.off < 0 || e.n <= 0 || e.off+e.n > size || e.n > chunk.Size || e.String() != s {
			t.Fatalf("%q of %d became %v", s, size, e)
		}
		blocks := distribution.Span{First: uint32(e.off / chunk.BlockSize), N: uint32(chunk.BlockCount(e.n))}
		if again, err := extentOf(size, blocks); err != nil || again != e {
			t.Fatalf("%q is not the run %s: %v, %v", s, blocks, again, err)
		}
	})
}

func FuzzParseSums(f *testing.F) {
	text, err := formatSums(chunk.SumBlocks(make([]byte, 3*chunk.BlockSize)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, int64(3*chunk.BlockSize), 0)
	f.Add("", int64(1), 0)
	f.Fuzz(func(t *testing.T, s string, size int64, i int) {
		size = max(1, size%(chunk.MaxObject+1))
		i = max(0, i%chunk.Count(size))
		sums, err := parseSums(s, size, i)
		if err != nil || sums == nil {
			return
		}
		if len(sums) != chunk.BlockCount(chunk.Length(size, i)) {
			t.Fatalf("%d sums for chunk %d of %d", len(sums), i, size)
		}
		if again, err := formatSums(sums); err != nil || again != s {
			t.Fatalf("%q has another spelling, %q", s, again)
		}
	})
}

func FuzzClearProof(f *testing.F) {
	f.Add("a 1 AAAAAAAAAAAAAAAAAAAAAA x")
	f.Add("   ")
	f.Fuzz(func(t *testing.T, proof string) {
		m, err := newMembership("server", networkKey)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := m.checkClear(proof, request{"GET", "/", ""}, newNonces(), time.Unix(1_000_000, 0)); err == nil {
			t.Fatalf("%q proves %s", proof, id)
		}
	})
}
