//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/lab"
)

func TestOptionsSayEverythingThatIsWrong(t *testing.T) {
	_, err := parseOptions([]string{"-n", "1,9", "-workloads", "A,C", "-modes", "direct,both", "-security", "none", "-runs", "0"})
	if err == nil {
		t.Fatal("nonsense was taken")
	}
	for _, want := range []string{"-n:", "-workloads:", "-modes:", "-security:", "-runs:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in: %v", want, err)
		}
	}
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal("the defaults:", err)
	}
	if diff := cmp.Diff([]int{1, 4, 8}, o.crowds); diff != "" || o.rate != 200*lab.Mbit || len(o.modes) != 3 {
		t.Errorf("the defaults: %+v", o)
	}
}

func TestFluidBoundIsOneImageAtLinkRate(t *testing.T) {
	for _, n := range []int{1, 4, 8, 64} {
		if got := fluidBound(100, n, 25); got != 4 {
			t.Errorf("N = %d: %f s, want 4", n, got)
		}
	}
}

func sampleBench() *bench {
	run := func(mode string, slowest float64, err string) result {
		return result{Mode: mode, Workload: "A", N: 2, Bytes: 128 * mib, BlobBytes: 128 * mib, LayerGETs: 32,
			PeersSent: 192 * mib, SupernodeSent: 64 * mib, PeersCPU: 0.5, SupernodeCPU: 0.25, MachineCPU: 2, Elapsed: 1,
			Clients: []client.Result{{Total: slowest - 1, FirstByte: 0.1}, {Total: slowest, FirstByte: 0.3, Error: err}}}
	}
	return &bench{
		options: options{crowds: []int{2}, workloads: workloads[:1], modes: []string{"direct", "spread"}, rate: 200 * lab.Mbit},
		results: []result{run("direct", 11, ""), run("spread", 6, ""), run("spread", 8, ""), run("spread", 9, "broken")},
	}
}

func TestRowComparesGoodRunsWithBoundAndDirect(t *testing.T) {
	b := sampleBench()
	row := b.row("spread", 2, b.pick("A", "spread", 2))
	want := []string{"Shoal, spread", "2", "2/3", "5.50/6.50/7.50", "6.00/7.00/8.00", "1.30", "0.64", "0.20", "1.00", "0.00", "32",
		"0.75 / 0.25", "0.00", "3.0 (1.0 + 2.0)", "0.0", "0.0", "0.8 / 2.0", "- / - / - / -"}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Error(diff)
	}
}

func TestEveryRowFillsTheTable(t *testing.T) {
	b := sampleBench()
	width := len(b.table(workloads[0]).Header)
	failed := b.pick("A", "spread", 2)[2:]
	for _, row := range [][]string{b.row("direct", 2, b.pick("A", "direct", 2)), b.row("spread", 2, failed)} {
		if len(row) != width {
			t.Errorf("%d cells under %d headings: %q", len(row), width, row)
		}
	}
}

func TestFailedRunsAreListedAndAnError(t *testing.T) {
	b := sampleBench()
	var out strings.Builder
	if err := b.failures(&out); err == nil || !strings.Contains(err.Error(), "1 of 4") {
		t.Errorf("with a failed run: %v", err)
	}
	if want := "- Shoal, spread, workload A, N = 2, after 9.00 s: broken\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %q, want it to end with %q", out.String(), want)
	}
	b.results = b.results[:3]
	out.Reset()
	if err := b.failures(&out); err != nil || out.Len() > 0 {
		t.Errorf("without one: %v, %q", err, out.String())
	}
}
