package chunk_test

import (
	"bytes"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// next finds the next bit that is want the slow way.
func next(m *chunk.Bitmap, from int, want bool) int {
	for i := max(from, 0); i < m.Len(); i++ {
		if m.Has(i) == want {
			return i
		}
	}
	return m.Len()
}

func checkBitmap(t *testing.T, m *chunk.Bitmap) {
	t.Helper()
	count := 0
	for i := -1; i <= m.Len()+1; i++ {
		if m.Has(i) {
			count++
		}
		if got, want := m.NextSet(i), next(m, i, true); got != want {
			t.Errorf("next set bit after %d is %d, want %d", i, got, want)
		}
		if got, want := m.NextClear(i), next(m, i, false); got != want {
			t.Errorf("next clear bit after %d is %d, want %d", i, got, want)
		}
	}
	if m.Count() != count || m.Full() != (count == m.Len()) {
		t.Errorf("the map counts %d of %d (full: %v), it has %d", m.Count(), m.Len(), m.Full(), count)
	}
}

func TestBitmap(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 63, 64, 65, 1000} {
		m := chunk.NewBitmap(n)
		checkBitmap(t, m)
		for i := 0; i < n; i += 3 {
			if !m.Set(i) || m.Set(i) {
				t.Errorf("setting bit %d twice did not report true, false", i)
			}
		}
		if m.Set(-1) || m.Set(n) || m.Clear(n) {
			t.Errorf("a map of %d took a bit outside", n)
		}
		checkBitmap(t, m)
		twin := m.Clone()
		m.SetAll()
		checkBitmap(t, m)
		if !m.Full() {
			t.Errorf("a map of %d is not full after SetAll", n)
		}
		for i := range n {
			if !m.Clear(i) || m.Clear(i) {
				t.Errorf("clearing bit %d twice did not report true, false", i)
			}
		}
		checkBitmap(t, m)
		checkBitmap(t, twin)
		if _, ok := chunk.ParseBitmap(twin.Bytes(), n); !ok {
			t.Errorf("a map of %d does not parse back", n)
		}
	}
}

func FuzzParseBitmap(f *testing.F) {
	f.Add([]byte{0xff, 0x01}, 9)
	f.Add([]byte{0xff, 0x02}, 9)
	f.Add([]byte{}, 0)
	f.Add([]byte{1}, -1)
	f.Add([]byte{}, int(^uint(0)>>1))
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		m, ok := chunk.ParseBitmap(p, n)
		if !ok {
			return
		}
		if m.Len() != n || !bytes.Equal(m.Bytes(), p) {
			t.Errorf("%x reads back as %x of %d bits", p, m.Bytes(), m.Len())
		}
		if n < 4096 {
			checkBitmap(t, m)
		}
	})
}
