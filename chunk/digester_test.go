package chunk_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

func TestDigester(t *testing.T) {
	data := bytes.Repeat([]byte("shoal"), (chunk.Size+2*chunk.BlockSize)/5)
	clear(data[chunk.BlockSize : 2*chunk.BlockSize])
	clear(data[len(data)-len(data)%chunk.BlockSize:])
	for _, size := range []int{0, 1, chunk.BlockSize, chunk.BlockSize + 1, chunk.Size, len(data)} {
		for _, piece := range []int{len(data), chunk.BlockSize, 77_777} {
			content := data[:size]
			var got []byte
			d := chunk.NewDigester(int64(size), func(b int, p []byte, zero bool) error {
				if b*chunk.BlockSize != len(got) || zero != (len(bytes.Trim(p, "\x00")) == 0) {
					t.Errorf("block %d came after %d bytes, zero: %v", b, len(got), zero)
				}
				got = append(got, p...)
				return nil
			})
			for p := content; len(p) > 0; p = p[min(piece, len(p)):] {
				if n, err := d.Write(p[:min(piece, len(p))]); n != min(piece, len(p)) || err != nil {
					t.Fatalf("write: %d, %v", n, err)
				}
			}
			name, sums, err := d.Finish()
			if err != nil || name != chunk.SumBytes(content) || !bytes.Equal(got, content) {
				t.Errorf("%d bytes in pieces of %d: %s, error %v", size, piece, name, err)
			}
			var want []chunk.Sums
			for i := range chunk.Count(int64(size)) {
				at := int64(i) * chunk.Size
				want = append(want, chunk.SumBlocks(content[at:at+chunk.Length(int64(size), i)]))
			}
			if diff := cmp.Diff(want, sums); diff != "" {
				t.Errorf("%d bytes in pieces of %d: sums (-want +got):\n%s", size, piece, diff)
			}
		}
	}
}

func TestDigesterRefuses(t *testing.T) {
	broken := errors.New("broken")
	fail := true
	d := chunk.NewDigester(10, func(int, []byte, bool) error {
		if fail {
			return broken
		}
		return nil
	})
	if n, err := d.Write(make([]byte, 11)); n != 0 || !errors.Is(err, chunk.ErrSize) {
		t.Errorf("a byte too many: %d, %v", n, err)
	}
	if _, _, err := d.Finish(); !errors.Is(err, chunk.ErrSize) {
		t.Errorf("finish of nothing: %v", err)
	}
	if _, err := d.Write(make([]byte, 10)); !errors.Is(err, broken) {
		t.Errorf("a block that could not be stored: %v", err)
	}
	fail = false
	if _, err := d.Write(nil); !errors.Is(err, broken) {
		t.Errorf("after that: %v", err)
	}
	if _, _, err := d.Finish(); !errors.Is(err, broken) {
		t.Errorf("finish after that: %v", err)
	}
}

func TestZeros(t *testing.T) {
	for _, n := range []int64{0, 1, 4095, 4096, 4097, chunk.BlockSize - 1, chunk.BlockSize, chunk.BlockSize + 1} {
		zeros := make([]byte, n)
		if chunk.ZeroSum(n) != chunk.SumBytes(zeros) || !chunk.IsZero(zeros) {
			t.Errorf("%d zeros are not taken for zeros", n)
		}
		for _, at := range []int64{0, n / 2, n - 1} {
			if n == 0 {
				continue
			}
			zeros[at] = 1
			if chunk.IsZero(zeros) {
				t.Errorf("%d bytes with a one at %d are taken for zeros", n, at)
			}
			zeros[at] = 0
		}
	}
	data := make([]byte, 5*chunk.BlockSize+3)
	data[0], data[3*chunk.BlockSize-1] = 1, 1
	if got := chunk.SumBlocks(data).Zeros(int64(len(data))); got != 0b111010 {
		t.Errorf("blocks of zeros: %b", got)
	}
	if got := chunk.SumBlocks(data).Zeros(int64(len(data)) - 1); got != 0b011010 {
		t.Errorf("blocks of zeros of another length: %b", got)
	}
	if got := chunk.SumBlocks(data).Zeros(-1); got != 0 {
		t.Errorf("blocks of zeros of no length: %b", got)
	}
}

func FuzzCheckPin(f *testing.F) {
	f.Add("image-1.2_x", 3)
	f.Add("../x", 0)
	f.Add("a", chunk.MaxPinned+1)
	f.Fuzz(func(t *testing.T, name string, objects int) {
		err := chunk.CheckPin(name, objects)
		if err == nil && (len(name) < 1 || len(name) > 128 || bytes.ContainsAny([]byte(name), "/\x00ABC ") || objects > chunk.MaxPinned) {
			t.Errorf("a pin %q of %d objects passes", name, objects)
		}
		if err != nil && !errors.Is(err, chunk.ErrPin) {
			t.Errorf("error %v is not ErrPin", err)
		}
	})
}
