package storetest

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// Content is an object's bytes for tests, the same for the same seed and size.
type Content struct {
	Digest chunk.Digest
	Bytes  []byte
}

// NewContent makes size bytes that do not repeat.
func NewContent(seed byte, size int) Content {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return Content{Digest: chunk.SumBytes(b), Bytes: b}
}

// NewSparse is NewContent with some blocks of zeros.
func NewSparse(seed byte, size int, zeros ...int) Content {
	b := NewContent(seed, size).Bytes
	for _, block := range zeros {
		at := block * chunk.BlockSize
		clear(b[at:min(at+chunk.BlockSize, size)])
	}
	return Content{Digest: chunk.SumBytes(b), Bytes: b}
}

// Room is what the object counts for in a store, whole: all but its blocks of
// zeros.
func (c Content) Room() (n int64) {
	for at := 0; at < len(c.Bytes); at += chunk.BlockSize {
		if block := c.Bytes[at:min(at+chunk.BlockSize, len(c.Bytes))]; !chunk.IsZero(block) {
			n += int64(len(block))
		}
	}
	return n
}

// Size is the length in bytes.
func (c Content) Size() int64 { return int64(len(c.Bytes)) }

// Chunk is the bytes of chunk i.
func (c Content) Chunk(i int) []byte {
	at := int64(i) * chunk.Size
	return c.Bytes[at : at+chunk.Length(c.Size(), i)]
}

// Sums are the block digests of chunk i.
func (c Content) Sums(i int) chunk.Sums { return chunk.SumBlocks(c.Chunk(i)) }

// List is the object's chunk list.
func (c Content) List() *chunk.List {
	l := &chunk.List{Kind: chunk.KindBlob, Object: c.Digest, Size: c.Size()}
	for i := range chunk.Count(c.Size()) {
		l.Chunks = append(l.Chunks, c.Sums(i).Digest())
	}
	return l
}

// Sealed is the list and a seal by a key made from seed.
func (c Content) Sealed(t testing.TB, seed byte) (*chunk.List, chunk.Seal) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), seed))
	list := c.List()
	seal, err := chunk.Sign(key, list)
	if err != nil {
		t.Fatal(err)
	}
	return list, seal
}

// Write gives the store chunk i block by block, but for those of zeros, without
// putting it.
func (c Content) Write(t testing.TB, o chunk.Object, i int) {
	t.Helper()
	data, at := c.Chunk(i), int64(i)*chunk.Size
	for len(data) > 0 {
		n := min(len(data), chunk.BlockSize)
		if !chunk.IsZero(data[:n]) {
			if _, err := o.WriteAt(data[:n], at); err != nil {
				t.Fatalf("write chunk %d: %v", i, err)
			}
		}
		data, at = data[n:], at+int64(n)
	}
}

// Fill writes and puts the chunks, or all when none is named.
func (c Content) Fill(t testing.TB, o chunk.Object, chunks ...int) {
	t.Helper()
	if len(chunks) == 0 {
		for i := range chunk.Count(c.Size()) {
			chunks = append(chunks, i)
		}
	}
	for _, i := range chunks {
		c.Write(t, o, i)
		if err := o.Put(i, c.Sums(i)); err != nil {
			t.Fatalf("put chunk %d: %v", i, err)
		}
	}
}

// VerifyPresent reads every chunk that o says it has, checks it against its
// sums and these against the content, and returns how many there were.
func (c Content) VerifyPresent(t testing.TB, o chunk.Object) int {
	t.Helper()
	have := o.Have()
	for i := have.NextSet(0); i < have.Len(); i = have.NextSet(i + 1) {
		buf := make([]byte, chunk.Length(o.Size(), i))
		if _, err := o.ReadAt(buf, int64(i)*chunk.Size); err != nil {
			t.Errorf("read chunk %d: %v", i, err)
		}
		want := c.Sums(i).Digest()
		if got := chunk.SumBlocks(buf).Digest(); got != want {
			t.Errorf("chunk %d reads as %s, not %s", i, got, want)
		}
		if got := o.Sums(i).Digest(); got != want {
			t.Errorf("chunk %d has the sums of %s, not of %s", i, got, want)
		}
	}
	return have.Count()
}

// create opens c's object, made if need be; the test closes it at its end if
// nobody did before.
func (c Content) create(t *testing.T, s chunk.Store) chunk.Object {
	t.Helper()
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// open opens c's object, which is there.
func (c Content) open(t *testing.T, s chunk.Store) chunk.Object {
	t.Helper()
	o, err := s.Open(c.Digest)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// wantErr fails the test unless err is want.
func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// must fails the test at once on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
