//go:build linux

package main

import (
	"testing"

	"github.com/shoal-project/shoal/bench/client"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1KiB": 1 << 10, "512MiB": 512 << 20, "77": 77} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1KiB", "1GiB", "KiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
	if _, err := parseOptions([]string{"-sizes", "1KiB,big", "-pairs", "0"}); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestRowFillsTheTable(t *testing.T) {
	pull := func(way string, seconds float64) result {
		return result{Registry: "bare", Size: mib, Way: way, Client: client.Result{Total: seconds}, PeerCPU: 0.001}
	}
	e := endpoint{name: "bare"}
	b := &bench{options: options{sizes: []int64{mib}}, results: []result{pull(direct, 1), pull(cold, 2), pull(warm, 0.5)}}
	cells := sample{b.pick(e, mib, direct), b.pick(e, mib, cold), b.pick(e, mib, warm)}.cells()
	if want := len(b.table(e).Header) - 1; len(cells) != want {
		t.Fatalf("%d cells, want %d: %q", len(cells), want, cells)
	}
	if cells[3] != "2.00" || cells[4] != "+1000.0" || cells[6] != "0.50" {
		t.Errorf("ratios in %q", cells)
	}
}
