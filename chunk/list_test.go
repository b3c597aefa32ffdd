package chunk_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

func testList(size int64) *chunk.List {
	l := &chunk.List{Kind: chunk.KindBlob, Object: chunk.SumBytes([]byte("object")), Size: size, Chunks: []chunk.Digest{}}
	for i := range chunk.Count(size) {
		l.Chunks = append(l.Chunks, chunk.SumBytes([]byte{byte(i)}))
	}
	return l
}

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func TestListRoundTrip(t *testing.T) {
	for n, size := range []int64{0, 1, chunk.Size, chunk.Size + 1, chunk.MaxObject} {
		want := testList(size)
		want.Kind = []chunk.Kind{chunk.KindBlob, chunk.KindFile, chunk.KindPack, chunk.KindTree}[n%4]
		b, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got, err := chunk.ParseList(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("list of %d bytes (-want +got):\n%s", size, diff)
		}
	}
}

func TestListRefused(t *testing.T) {
	good, err := testList(2 * chunk.Size).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if l, err := chunk.ParseList(good[:n]); !errors.Is(err, chunk.ErrList) || l != nil {
			t.Fatalf("the first %d bytes of a list parse, error %v", n, err)
		}
	}
	for name, at := range map[string]int{"magic": 0, "version": 8, "kind": 9, "size": 42, "small size": 49} {
		bad := bytes.Clone(good)
		bad[at] ^= 0x40
		_, err := chunk.ParseList(bad)
		if name == "small size" { // 64 bytes more are one chunk more
			bad = append(good[:49:49], 1)
			_, err = chunk.ParseList(append(bad, good[50:]...))
		}
		if !errors.Is(err, chunk.ErrList) {
			t.Errorf("a list with a wrong %s: error %v", name, err)
		}
	}
	l := testList(chunk.Size)
	if err := l.Describes(l.Object, l.Size); err != nil {
		t.Error(err)
	}
	if err := l.Describes(chunk.Digest{}, l.Size); !errors.Is(err, chunk.ErrList) {
		t.Errorf("a list describes another object: %v", err)
	}
	for _, l := range []*chunk.List{{}, {Kind: 5}, {Kind: 1, Size: -1}, {Kind: 1, Size: chunk.MaxObject + 1}, {Kind: 1, Size: 1}} {
		if _, err := l.MarshalBinary(); !errors.Is(err, chunk.ErrList) {
			t.Errorf("list %+v: error %v", l, err)
		}
	}
}

func TestSeal(t *testing.T) {
	l := testList(3 * chunk.Size)
	seal, err := chunk.Sign(testKey(1), l)
	if err != nil {
		t.Fatal(err)
	}
	public := func(seed byte) ed25519.PublicKey { return testKey(seed).Public().(ed25519.PublicKey) }
	if err := seal.Verify(l, []ed25519.PublicKey{public(2), public(1)}); err != nil {
		t.Errorf("a good seal: %v", err)
	}
	other := *l
	other.Chunks = append([]chunk.Digest{{9}}, l.Chunks[1:]...)
	short, long := seal, seal
	short.Signature, long.Signature = nil, append(bytes.Clone(seal.Signature), 0)
	for name, try := range map[string]struct {
		seal    chunk.Seal
		list    *chunk.List
		trusted []ed25519.PublicKey
	}{
		"nobody trusted":     {seal, l, nil},
		"another trusted":    {seal, l, []ed25519.PublicKey{public(2)}},
		"another list":       {seal, &other, []ed25519.PublicKey{public(1)}},
		"no signature":       {short, l, []ed25519.PublicKey{public(1)}},
		"long signature":     {long, l, []ed25519.PublicKey{public(1)}},
		"empty keys":         {chunk.Seal{Signature: seal.Signature}, l, []ed25519.PublicKey{nil, {}}},
		"another's key name": {chunk.Seal{Key: public(2), Signature: seal.Signature}, l, []ed25519.PublicKey{public(2)}},
	} {
		if err := try.seal.Verify(try.list, try.trusted); !errors.Is(err, chunk.ErrSeal) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := seal.Verify(&chunk.List{}, []ed25519.PublicKey{public(1)}); !errors.Is(err, chunk.ErrList) {
		t.Errorf("a malformed list: error %v", err)
	}
	if _, err := chunk.Sign(nil, l); !errors.Is(err, chunk.ErrSeal) {
		t.Errorf("signing without a key: error %v", err)
	}
}

func FuzzParseList(f *testing.F) {
	for _, size := range []int64{0, 1, chunk.Size + 1} {
		b, err := testList(size).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		l, err := chunk.ParseList(p)
		if err != nil {
			return
		}
		b, err := l.MarshalBinary()
		if err != nil || !bytes.Equal(b, p) {
			t.Errorf("%x marshals back as %x, error %v", p, b, err)
		}
	})
}

func FuzzSealVerify(f *testing.F) {
	l := testList(chunk.Size)
	good, err := chunk.Sign(testKey(1), l)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good.Key), good.Signature)
	f.Add([]byte{}, good.Signature)
	f.Add([]byte(good.Key), good.Signature[:63])
	f.Fuzz(func(t *testing.T, key, signature []byte) {
		s := chunk.Seal{Key: key, Signature: signature}
		err := s.Verify(l, []ed25519.PublicKey{good.Key, key})
		if err == nil && bytes.Equal(key, good.Key) && !bytes.Equal(signature, good.Signature) {
			t.Errorf("a forged signature %x verifies", signature)
		}
	})
}
