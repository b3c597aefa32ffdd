//go:build linux

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestOnlyWhatTheFileHasIsDropped(t *testing.T) {
	smaps := ""
	for _, m := range []struct{ line, anonymous string }{
		{"00400000-00ffe000 r-xp 00000000 fe:00 1234  /usr/local/bin/lazyfs", "0"},
		{"01000000-01001000 r--p 00bfe000 fe:00 1234  /usr/local/bin/lazyfs (deleted)", "0"},
		{"02000000-02001000 r--p 00bfe000 fe:00 1234  /usr/local/bin/lazyfs", "4"},
		{"03000000-03001000 rw-p 01bb1000 fe:00 1234  /usr/local/bin/lazyfs", "0"},
		{"c000000000-c000400000 rw-p 00000000 00:00 0", "0"},
		{"7ffd1000-7ffd3000 r-xp 00000000 00:00 0     [vdso]", "0"},
		{"7ffd3000-7ffd1000 r-xp 00000000 fe:00 1     /x", "0"},
	} {
		smaps += m.line + "\nRss:  8 kB\nAnonymous:  " + m.anonymous + " kB\nVmFlags: rd ex\n"
	}
	got, err := unchangedMappings(strings.NewReader(smaps))
	if want := []mapping{{0x400000, 0xbfe000}, {0x1000000, 0x1000}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%x, %v", got, err)
	}
}

func TestAProcessThatRestsIsSmall(t *testing.T) {
	before := resident(t)
	if err := dropPages(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%s of files were in memory, and then %s", before, after)
	}
}

// resident is what /proc says of this process's files in memory; the kernel pads
// the number, so that texts compare as numbers do.
func resident(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
