//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/internal/testimage"
)

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-only", "start,mount", "-rates", "0,200", "-runs", "2"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.rates, []lab.Rate{0, 200 * lab.Mbit}) || o.runs != 2 || !o.wants(workMount) || o.wants(workTree) {
		t.Errorf("read as %+v", o)
	}
	if got := o.needed(); !slices.Equal(got, []string{imageGo, imageMany, imagePython}) {
		t.Errorf("start and mount need %v", got)
	}
	for _, args := range [][]string{{"-only", "sleep"}, {"-rates", "fast"}, {"-runs", "0"}, {"-security", "none"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

func TestTenImagesAreTen(t *testing.T) {
	names := tenImages()
	if slices.Sort(names); len(slices.Compact(names)) != 10 {
		t.Errorf("%d of %v are different", len(slices.Compact(names)), names)
	}
}

func TestBarsOfMediansAndOnlyOfWhatWasMeasured(t *testing.T) {
	b := &bench{options: options{rates: []lab.Rate{0}}, subjects: map[string]*subject{}, progress: io.Discard}
	for _, seconds := range []float64{9, 1, 2} {
		b.add(workFile, imageLarge, wayLazy, map[string]float64{readTime: seconds})
	}
	b.add(workFile, imageLarge, wayCurl, map[string]float64{readTime: 1.9})
	b.add(workSmall, near, wayLazy, map[string]float64{readTime: 0.6})
	bars := b.bars()
	if len(bars) != 2 {
		t.Fatalf("%d bars: %+v", len(bars), bars)
	}
	if r := bars[0]; r.Value != 0.95 || r.holds() != "yes" {
		t.Errorf("1.9 s against a median of 2 s is %+v, holds: %s", r, r.holds())
	}
	if r := bars[1]; r.Value != 0.6 || r.holds() != "**no**" {
		t.Errorf("0.6 s against at most 0.5 s is %+v, holds: %s", r, r.holds())
	}
}

func TestAlteredFileDiffersInItsMiddleAndEndOnly(t *testing.T) {
	for _, size := range []int{0, 1, 5, 1000} {
		before := bytes.Repeat([]byte("x"), size)
		e := altered(testimage.File("f", 0o644, before))
		body, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		after, err := io.ReadAll(body)
		if err != nil || int64(len(after)) != e.Header.Size {
			t.Fatalf("%d bytes became %d, the header says %d: %v", size, len(after), e.Header.Size, err)
		}
		if !bytes.HasPrefix(after, before[:size/2]) || !bytes.HasSuffix(after, []byte("\n// changed\n")) || bytes.HasPrefix(after[size/2:], []byte("x")) {
			t.Errorf("%d bytes became %q", size, after)
		}
	}
}

func TestGeneratedBytesAreTheSameEachTime(t *testing.T) {
	read := func(step int) []byte {
		var p []byte
		for r := newTurns(); len(p) < 300*kib; {
			piece := make([]byte, step)
			n, err := r.Read(piece)
			if err != nil {
				t.Fatal(err)
			}
			p = append(p, piece[:n]...)
		}
		return p[:300*kib]
	}
	if !bytes.Equal(read(1000), read(70000)) {
		t.Error("the large file depends on how it is read")
	}
	if names := neighbours(true); len(names) != someFiles || names[0] != "data/030/file-03000.txt" {
		t.Errorf("%d files from %s", len(names), names[0])
	}
	if names := scattered(false); len(names) != someFiles || names[someFiles-1] >= smallName(smallFiles(false)) {
		t.Errorf("%d files to %s", len(names), names[someFiles-1])
	}
}

func TestModulesComeUnpackedAndAsArchives(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"cache/download/a.b/c/@v/v1.0.0.zip", "cache/download/a.b/c/@v/v1.0.0.mod", "a.b/c@v1.0.0/x.go", "a.b/d@v1.0.0/y.go"} {
		path := filepath.Join(cache, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	archives, err := listArchives(cache)
	if err != nil || len(archives) != 1 || archives[0] != (archive{"cache/download/a.b/c/@v/v1.0.0.zip", "a.b/c@v1.0.0", 1}) {
		t.Fatalf("%+v, %v", archives, err)
	}
	p := part{root: cache, prefix: "p", cuts: [][]string{{archives[0].unpacked + "/"}, {strings.TrimSuffix(archives[0].file, "zip")}}}
	sources, err := p.layers(false)
	if err != nil || len(sources) != 2 {
		t.Fatalf("%d layers, %v", len(sources), err)
	}
}

func TestSweepRemovesWhatTheDeadLeft(t *testing.T) {
	below := t.TempDir()
	dead := filepath.Join(below, scratchPrefix+"4194999-x") // above the largest process id
	if err := os.Mkdir(dead, 0o755); err != nil {
		t.Fatal(err)
	}
	living := filepath.Join(below, scratchPrefix+"1-x")
	if err := os.Mkdir(living, 0o755); err != nil {
		t.Fatal(err)
	}
	own, err := newScratch(below)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead process left is still there")
	}
	for _, dir := range []string{living, own} {
		if _, err := os.Stat(dir); err != nil {
			t.Error("a living process's directory was removed: ", err)
		}
	}
}
