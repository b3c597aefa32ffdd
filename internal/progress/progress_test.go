package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/pull"
)

// story is a pull of two layers, half a second between events.
func story() []pull.Event {
	image := chunk.SumBytes([]byte("image"))
	a, b := chunk.SumBytes([]byte("a")), chunk.SumBytes([]byte("b"))
	layer := func(d chunk.Digest, size int64, bytes map[string]int64, done bool) pull.Object {
		return pull.Object{Digest: d, Kind: "layer", Size: size, Bytes: bytes, Done: done}
	}
	return []pull.Event{
		{Image: "app:1", Digest: &image},
		{Image: "app:1", Objects: []pull.Object{layer(a, 4e6, nil, false), layer(b, 2e6, nil, false)}},
		{Image: "app:1", Objects: []pull.Object{layer(a, 4e6, map[string]int64{"peer": 1e6, "supernode": 1e6}, false)}},
		{Image: "app:1", Objects: []pull.Object{
			layer(a, 4e6, map[string]int64{"peer": 3e6, "supernode": 1e6}, true), layer(b, 2e6, map[string]int64{"store": 2e6}, true),
		}},
		{Image: "app:1", Done: true},
	}
}

func play(display func(now func() time.Time) Display) {
	at := time.Unix(0, 0)
	d := display(func() time.Time { return at })
	for _, e := range story() {
		d.Tell(e)
		at = at.Add(500 * time.Millisecond)
	}
	d.Close()
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	play(func(now func() time.Time) Display { return Plain(&out, now) })
	want := fmt.Sprintf(`app:1 is %s
layer    ca978112ca1b    4.0 MB  supernode 1.0 MB, peers 3.0 MB
layer    3e23e8160039    2.0 MB  already here 2.0 MB
app:1: 6.0 MB in 2s (already here 2.0 MB, supernode 1.0 MB, peers 3.0 MB)
`, chunk.SumBytes([]byte("image")))
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	play(func(func() time.Time) Display { return Quiet(&out) })
	if want := chunk.SumBytes([]byte("image")).String() + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	play(func(func() time.Time) Display { return Lines(&out) })
	var got []pull.Event
	for line := range strings.Lines(out.String()) {
		var e pull.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(story(), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// screen is what a terminal shows after the bytes were written to it: the
// display uses only "up N lines", carriage return and "clear to the end".
func screen(t *testing.T, text string) []string {
	t.Helper()
	lines := []string{""}
	for text != "" {
		var up int
		if n, _ := fmt.Sscanf(text, "\x1b[%dA\r\x1b[J", &up); n == 1 {
			lines = append(lines[:len(lines)-1-up], "")
			text = text[strings.Index(text, "J")+1:]
			continue
		}
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			t.Fatalf("a drawing that ends inside a line: %q", text)
		}
		lines[len(lines)-1] = line
		lines, text = append(lines, ""), rest
	}
	return lines
}

func TestBarsWhileRunning(t *testing.T) {
	var out bytes.Buffer
	at := time.Unix(0, 0)
	d := Bars(&out, func() int { return 100 }, func() time.Time { return at })
	for _, e := range story()[:3] {
		d.Tell(e)
		at = at.Add(500 * time.Millisecond)
	}
	got := screen(t, out.String())
	want := []string{
		"app:1 is " + chunk.SumBytes([]byte("image")).String(),
		"layer    ca978112ca1b    [" + strings.Repeat("=", 19) + strings.Repeat(" ", 19) + "]   2.0 MB / 4.0 MB",
		"0 of 2 done, 1 waiting   [" + strings.Repeat("=", 6) + strings.Repeat(" ", 12) + "]   2.0 MB / 6.0 MB  supernode 2.0 MB/s, peers 2.0 MB/s",
		"",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, line := range got[1:] {
		if len(line) >= 100 {
			t.Errorf("line of %d columns wraps: %q", len(line), line)
		}
	}
}

func TestBarsLeaveOnlyTheSummary(t *testing.T) {
	var out bytes.Buffer
	play(func(now func() time.Time) Display { return Bars(&out, func() int { return 60 }, now) })
	want := []string{
		"app:1 is " + chunk.SumBytes([]byte("image")).String(),
		"app:1: 6.0 MB in 2s (already here 2.0 MB, supernode 1.0 MB, peers 3.0 MB)", "",
	}
	if diff := cmp.Diff(want, screen(t, out.String())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_999: "1.0 MB", 123_456_789: "123 MB", 5 << 40: "5.5 TB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}
