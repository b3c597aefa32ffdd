package layer

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func signedBinding(t testing.TB, layers int) *Binding {
	t.Helper()
	b := &Binding{DiffIDs: make([]chunk.Digest, layers), Tree: chunk.Digest{7}, Size: 12345}
	for i := range b.DiffIDs {
		b.DiffIDs[i] = chunk.SumBytes([]byte{byte(i), byte(i >> 8)})
	}
	if err := b.Sign(keyOf(1)); err != nil {
		t.Fatal(err)
	}
	return b
}

// signedLower is a binding of the other form.
func signedLower(t testing.TB, layers int) *Binding {
	t.Helper()
	b := signedBinding(t, layers)
	b.Form, b.Plain = FormLower, 777
	if err := b.Sign(keyOf(1)); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBindingRoundTrip(t *testing.T) {
	for _, layers := range []int{0, 1, 3, MaxLayers} {
		roundTrip(t, signedBinding(t, layers))
		roundTrip(t, signedLower(t, max(layers, 1)))
	}
}

func roundTrip(t *testing.T, b *Binding) {
	t.Helper()
	p, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseBinding(p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, parsed); diff != "" {
		t.Error(diff)
	}
	if err := parsed.Verify([]ed25519.PublicKey{public(keyOf(2)), public(keyOf(1))}); err != nil {
		t.Error(err)
	}
}

// Every bit counts: none can be changed without the signature telling.
func TestBindingIsTampered(t *testing.T) {
	for _, b := range []*Binding{signedBinding(t, 2), signedLower(t, 2)} {
		tamper(t, b)
	}
}

func tamper(t *testing.T, b *Binding) {
	t.Helper()
	p, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	trusted := []ed25519.PublicKey{public(keyOf(1))}
	for i := range p {
		changed := bytes.Clone(p)
		changed[i] ^= 1
		if b, err := ParseBinding(changed); err == nil && b.Verify(trusted) == nil {
			t.Errorf("byte %d was changed, and it verifies", i)
		}
	}
}

func TestBindingRefused(t *testing.T) {
	good := signedBinding(t, 2)
	trusted := []ed25519.PublicKey{nil, public(keyOf(1))}
	for name, change := range map[string]func(*Binding){
		"order":     func(b *Binding) { b.DiffIDs[0], b.DiffIDs[1] = b.DiffIDs[1], b.DiffIDs[0] },
		"fewer":     func(b *Binding) { b.DiffIDs = b.DiffIDs[:1] },
		"many":      func(b *Binding) { b.DiffIDs = make([]chunk.Digest, MaxLayers+1) },
		"size":      func(b *Binding) { b.Size = -1 },
		"form":      func(b *Binding) { b.Form = FormLower },
		"no form":   func(b *Binding) { b.Form = 2 },
		"plain":     func(b *Binding) { b.Plain = 1 },
		"no key":    func(b *Binding) { b.Key = nil },
		"short":     func(b *Binding) { b.Signature = b.Signature[:63] },
		"other key": func(b *Binding) { b.Key = public(keyOf(2)) },
	} {
		b := *good
		b.DiffIDs = append([]chunk.Digest(nil), good.DiffIDs...)
		change(&b)
		if err := b.Verify(trusted); !errors.Is(err, ErrBinding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&Binding{Size: 1}).Sign(nil); !errors.Is(err, ErrBinding) {
		t.Errorf("signed without a key: %v", err)
	}
	if err := (&Binding{DiffIDs: make([]chunk.Digest, MaxLayers+1), Size: 1}).Sign(keyOf(1)); !errors.Is(err, ErrBinding) {
		t.Errorf("signed too many layers: %v", err)
	}
	// A signature for anything else is none for a binding.
	b := *good
	b.Signature = ed25519.Sign(keyOf(1), b.appendBody(nil))
	if err := b.Verify(trusted); !errors.Is(err, ErrBinding) {
		t.Errorf("a signature without the context: %v", err)
	}
}

func FuzzParseBinding(f *testing.F) {
	for _, layers := range []int{0, 2} {
		p, err := signedBinding(f, layers).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
		f.Add(p[:len(p)-1])
	}
	p, err := signedLower(f, 1).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := ParseBinding(p)
		if err != nil {
			if !errors.Is(err, ErrBinding) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		if again, err := b.MarshalBinary(); err != nil || !bytes.Equal(again, p) {
			t.Errorf("not canonical: %v", err)
		}
	})
}
