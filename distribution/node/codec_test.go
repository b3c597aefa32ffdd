package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func sum(i int) chunk.Digest { return chunk.SumBytes([]byte{byte(i), byte(i >> 8)}) }

// samples has every message, with every field set.
func samples() []distribution.Message {
	spans := []distribution.Span{{First: 1, N: 2}, {First: 9, N: 1}}
	return []distribution.Message{
		&distribution.Hello{Version: 1, Agent: "peer", Chunks: 7412, Control: 7411, Host: "node-1"},
		&distribution.Announce{
			Holdings: []distribution.Holding{{Object: sum(1), Size: 9 << 20, Chunks: []byte{5}}, {Object: sum(2), Size: 7}},
			Gone:     []chunk.Digest{sum(3)},
		},
		&distribution.Want{Object: sum(4), Registry: "docker.io", Repository: "library/debian", Manifest: true,
			Authorization: "Bearer secret", Size: 1 << 20, Blocks: []byte{3}, Derived: true},
		&distribution.Need{Object: sum(5), Spans: spans},
		&distribution.Report{Object: sum(6), Node: "node", Block: 7},
		&distribution.Have{Object: sum(7), Size: 1 << 20, Blocks: []byte{1}, Coming: spans, All: true},
		&distribution.Progress{Object: sum(8), Got: spans, Coming: spans, Lost: spans},
		&distribution.Progress{Object: sum(8), Also: []distribution.Progress{{Object: sum(9), Got: spans}, {Object: sum(10), Lost: spans}}},
		&distribution.Digests{Object: sum(9), First: 16, Sums: []chunk.Digest{sum(10), sum(11)}},
		&distribution.Leave{Object: sum(12), Keeps: true},
		&distribution.Seek{Object: sum(12), Size: 9 << 20},
		&distribution.Welcome{Version: 1, Agent: "supernode", Mode: distribution.ModeSpread, Chunks: 7402},
		&distribution.Opened{Object: sum(13), Size: 5, Direct: true},
		&distribution.Refused{Object: sum(14), Status: 401, Message: "no"},
		&distribution.Neighbours{Object: sum(15), Add: []distribution.Member{{ID: "a", Chunks: "h:1", Control: "h:2"}},
			Gone: []distribution.NodeID{"b"}},
		&distribution.Grant{Object: sum(16), Origin: true, Spans: spans, Open: true},
		&distribution.Sealed{Object: sum(17), List: []byte("list"), Key: make([]byte, 32), Signature: make([]byte, 64)},
		&distribution.Drop{Object: sum(18), Reason: "wrong digest"},
		&distribution.Quarantine{Node: "c", Reason: "lied"},
		&distribution.Recall{Object: sum(19)},
		&distribution.Derive{ID: 1, Registry: "quay.io", Repository: "org/name", Authorization: "Basic secret",
			Layers: []distribution.Layer{{Blob: sum(20), Size: 8, DiffID: sum(21)}}, Lower: true},
		&distribution.Deriving{ID: 1, Done: 3, Total: 8},
		&distribution.Derived{ID: 1, Binding: []byte("binding"), Status: 404, Message: "no"},
	}
}

// Every type of package distribution that is a message can be sent: what has a
// Validate method there, and no other, is one.
func TestEveryMessageHasANumber(t *testing.T) {
	sources, err := filepath.Glob("../*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("the sources of package distribution: %d, %v", len(sources), err)
	}
	method := regexp.MustCompile(`(?m)^func \(m \*(\w+)\) Validate\(\) error`)
	declared := map[string]bool{}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range method.FindAllStringSubmatch(string(text), -1) {
			declared[m[1]] = true
		}
	}
	for _, fresh := range makers() {
		name := reflect.TypeOf(fresh()).Elem().Name()
		if !declared[name] {
			t.Errorf("%s has a number but is no message", name)
		}
		delete(declared, name)
	}
	for name := range declared {
		t.Errorf("%s is a message without a number: it cannot be sent", name)
	}
}

func mustCodec(t testing.TB) *codec {
	t.Helper()
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryMessageSurvivesItsFrame(t *testing.T) {
	c := mustCodec(t)
	seen := map[reflect.Type]bool{}
	for _, want := range samples() {
		seen[reflect.TypeOf(want)] = true
		f, err := c.frame(want)
		if err != nil {
			t.Fatal(err)
		}
		body, err := readFrame(bytes.NewReader(f), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.parse(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%T: -sent +received\n%s", want, diff)
		}
	}
	if len(seen) != len(c.make) {
		t.Errorf("%d of %d messages were tried", len(seen), len(c.make))
	}
}

func TestDigestsTravelAsBytes(t *testing.T) {
	sums := make([]chunk.Digest, distribution.MaxSums)
	for i := range sums {
		sums[i] = sum(i)
	}
	f, err := mustCodec(t).frame(&distribution.Digests{Object: sum(0), Sums: sums})
	if err != nil {
		t.Fatal(err)
	}
	if limit := 35 * distribution.MaxSums; len(f) > limit {
		t.Errorf("%d digests take %d bytes, want at most %d", len(sums), len(f), limit)
	}
}

func TestFieldsOfALaterVersionAreIgnored(t *testing.T) {
	c := mustCodec(t)
	object := sum(1)
	body, err := cbor.Marshal(map[int]any{1: object[:], 2: true, 9: []string{"new"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.parse(append([]byte{19}, body...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&distribution.Leave{Object: object, Keeps: true}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	c := mustCodec(t)
	object := sum(1)
	key := append([]byte{1, 0x58, 32}, object[:]...) // 1: h'…'
	short := append([]byte{19, 0xa1, 1, 0x58, 31}, object[:31]...)
	for name, p := range map[string][]byte{
		"empty":             {},
		"unknown type":      {200, 0xa0},
		"no map":            {19, 0x01},
		"trailing bytes":    append(append([]byte{19, 0xa1}, key...), 0),
		"duplicate key":     append(append(append([]byte{19, 0xa2}, key...), key...), nil...),
		"indefinite map":    append(append([]byte{19, 0xbf}, key...), 0xff),
		"short digest":      short,
		"digest as text":    append([]byte{19, 0xa1, 1, 0x78, 32}, bytes.Repeat([]byte("a"), 32)...),
		"tagged":            append(append([]byte{19, 0xa2}, key...), 2, 0xc1, 0xf5),
		"deep":              append([]byte{19, 0xa1, 9}, bytes.Repeat([]byte{0x81}, 60)...),
		"huge array":        {4, 0xa1, 2, 0x9a, 0xff, 0xff, 0xff, 0xff},
		"beyond its bounds": {32, 0xa1, 1, 0},
	} {
		if m, err := c.parse(p); !errors.Is(err, distribution.ErrMessage) {
			t.Errorf("%s: %T, %v; want ErrMessage", name, m, err)
		}
	}
}

func TestFrameLengthIsBounded(t *testing.T) {
	for _, n := range []uint32{0, distribution.MaxMessage + 1, 1<<32 - 1} {
		_, err := readFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, n)), nil)
		if !errors.Is(err, distribution.ErrMessage) {
			t.Errorf("length %d: %v; want ErrMessage", n, err)
		}
	}
	// A length alone must not cost its memory.
	buf, err := readFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, distribution.MaxMessage)), nil)
	if err != io.ErrUnexpectedEOF || cap(buf) > 256<<10 {
		t.Errorf("a cut frame: %v with %d bytes held", err, cap(buf))
	}
}

func TestInvalidMessageIsNotSent(t *testing.T) {
	c := mustCodec(t)
	for _, m := range []distribution.Message{nil, &distribution.Hello{}, &distribution.Need{Spans: []distribution.Span{{}}}} {
		if _, err := c.frame(m); !errors.Is(err, distribution.ErrMessage) {
			t.Errorf("%T: %v; want ErrMessage", m, err)
		}
	}
}

func TestErrorsDoNotTellTheAuthorization(t *testing.T) {
	c := mustCodec(t)
	want := &distribution.Want{Object: sum(1), Registry: "r", Repository: strings.Repeat("x", 300), Authorization: "Bearer hush"}
	body, err := cbor.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	_, sent := c.frame(want)
	_, received := c.parse(append([]byte{3}, body...))
	_, cut := c.parse(append([]byte{3}, body[:len(body)-3]...))
	for _, err := range []error{sent, received, cut} {
		if err == nil || strings.Contains(fmt.Sprintf("%+v", err), "hush") {
			t.Errorf("error %v", err)
		}
	}
}

func FuzzParse(f *testing.F) {
	c := mustCodec(f)
	for _, m := range samples() {
		frame, err := c.frame(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[lengthSize:])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := c.parse(p)
		if err != nil {
			return
		}
		again, err := c.frame(m)
		if err != nil {
			t.Fatalf("%T was accepted, but cannot be sent: %v", m, err)
		}
		if back, err := c.parse(again[lengthSize:]); err != nil || !cmp.Equal(m, back, cmpopts.EquateEmpty()) {
			t.Fatalf("%T changed on its way: %v", m, err)
		}
	})
}

func BenchmarkParseProgress(b *testing.B) {
	c := mustCodec(b)
	f, err := c.frame(samples()[6])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.parse(f[lengthSize:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigests(b *testing.B) {
	c := mustCodec(b)
	m := &distribution.Digests{Object: sum(0), Sums: make([]chunk.Digest, distribution.MaxSums)}
	b.ReportAllocs()
	for b.Loop() {
		f, err := c.frame(m)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.parse(f[lengthSize:]); err != nil {
			b.Fatal(err)
		}
	}
}
