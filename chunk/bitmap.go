package chunk

import "math/bits"

// Bitmap is a have-map: which of n chunks (or blocks) are held. Its bytes hold
// bit i at byte i/8, least significant first; bits past n are zero.
type Bitmap struct {
	n   int
	set int
	b   []byte
}

// NewBitmap has room for n bits, all clear.
func NewBitmap(n int) *Bitmap { return &Bitmap{n: n, b: make([]byte, (n+7)/8)} }

// ParseBitmap reads the bytes of [Bitmap.Bytes] for n bits; it reports false
// when the length is wrong or a bit past n is set.
func ParseBitmap(p []byte, n int) (*Bitmap, bool) {
	if n < 0 || len(p) != (n+7)/8 {
		return nil, false
	}
	m := &Bitmap{n: n, b: append([]byte(nil), p...)}
	if n%8 != 0 && m.b[len(m.b)-1]>>(n%8) != 0 {
		return nil, false
	}
	for _, c := range m.b {
		m.set += bits.OnesCount8(c)
	}
	return m, true
}

// Len is the number of bits, Count the number of set ones.
func (m *Bitmap) Len() int { return m.n }

// Count is the number of set bits.
func (m *Bitmap) Count() int { return m.set }

// Full tells whether every bit is set; an empty map is full.
func (m *Bitmap) Full() bool { return m.set == m.n }

// Has tells bit i. A bit outside the map is clear.
func (m *Bitmap) Has(i int) bool {
	return i >= 0 && i < m.n && m.b[i/8]&(1<<(i%8)) != 0
}

// Set sets bit i and reports whether it was clear.
func (m *Bitmap) Set(i int) bool {
	if i < 0 || i >= m.n || m.Has(i) {
		return false
	}
	m.b[i/8] |= 1 << (i % 8)
	m.set++
	return true
}

// Clear clears bit i and reports whether it was set.
func (m *Bitmap) Clear(i int) bool {
	if !m.Has(i) {
		return false
	}
	m.b[i/8] &^= 1 << (i % 8)
	m.set--
	return true
}

// SetAll sets every bit.
func (m *Bitmap) SetAll() {
	for i := range m.b {
		m.b[i] = 0xff
	}
	if m.n%8 != 0 {
		m.b[len(m.b)-1] = 1<<(m.n%8) - 1
	}
	m.set = m.n
}

// NextClear is the first clear bit at or after i, or Len when there is none.
func (m *Bitmap) NextClear(i int) int {
	for i = max(i, 0); i < m.n; i++ {
		if i%8 == 0 && m.b[i/8] == 0xff {
			i += 7
			continue
		}
		if !m.Has(i) {
			return i
		}
	}
	return m.n
}

// NextSet is the first set bit at or after i, or Len when there is none.
func (m *Bitmap) NextSet(i int) int {
	for i = max(i, 0); i < m.n; i++ {
		if i%8 == 0 && m.b[i/8] == 0 {
			i += 7
			continue
		}
		if m.Has(i) {
			return i
		}
	}
	return m.n
}

// Bytes is a copy of the map's bytes.
func (m *Bitmap) Bytes() []byte { return append([]byte(nil), m.b...) }

// Clone is an independent copy.
func (m *Bitmap) Clone() *Bitmap { return &Bitmap{n: m.n, set: m.set, b: m.Bytes()} }
