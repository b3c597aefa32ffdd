package chunk_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

const emptyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseDigest(t *testing.T) {
	d, err := chunk.ParseDigest(emptyDigest)
	if err != nil || d != chunk.SumBytes(nil) || d.String() != emptyDigest || d.IsZero() {
		t.Errorf("the digest of nothing parses as %s, error %v", d, err)
	}
	for _, bad := range []string{
		"", "sha256:", emptyDigest[7:], emptyDigest + "0", emptyDigest[:70], " " + emptyDigest,
		strings.ToUpper(emptyDigest), "sha256:" + strings.ToUpper(emptyDigest[7:]),
		strings.Replace(emptyDigest, "sha256", "sha512", 1), emptyDigest[:70] + "g", "sha256:../" + emptyDigest[10:],
	} {
		if d, err := chunk.ParseDigest(bad); !errors.Is(err, chunk.ErrDigest) || !d.IsZero() {
			t.Errorf("%q parses as %s, error %v", bad, d, err)
		}
	}
}

func TestDigestJSON(t *testing.T) {
	in := map[chunk.Digest]chunk.Digest{chunk.SumBytes(nil): chunk.SumBytes([]byte("x"))}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[chunk.Digest]chunk.Digest
	if err := json.Unmarshal(b, &out); err != nil || out[chunk.SumBytes(nil)] != chunk.SumBytes([]byte("x")) {
		t.Errorf("%s reads back as %v, error %v", b, out, err)
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(emptyDigest)
	f.Add("sha256:" + strings.Repeat("A", 64))
	f.Fuzz(func(t *testing.T, s string) {
		d, err := chunk.ParseDigest(s)
		if err == nil && d.String() != s {
			t.Errorf("%q has another spelling, %q", s, d)
		}
	})
}
