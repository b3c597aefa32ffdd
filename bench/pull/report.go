//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/shoal-project/shoal/bench/report"
)

// document is the form of the JSON file.
type document struct {
	Facts   report.Facts `json:"facts"`
	Results []result     `json:"results"`
}

func (b *bench) report(out io.Writer) error {
	var errs []error
	if b.options.json != "" {
		text, err := json.MarshalIndent(document{Facts: b.facts, Results: b.results}, "", " ")
		if err == nil {
			err = os.WriteFile(b.options.json, append(text, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	_, err := fmt.Fprintf(out, "## One node, no other peers\n\n%s.\nLoopback, unshaped; figures are min/median/max.\n", b.facts.Line())
	errs = append(errs, err)
	for _, e := range b.endpoints {
		errs = append(errs, b.table(e).Write(out))
	}
	return errors.Join(errs...)
}

func (b *bench) table(e endpoint) *report.Table {
	title := "Registry bare"
	if e.name == "slow" {
		title = fmt.Sprintf("Registry behind a front of %.0f MB/s a connection", b.options.slow/1e6)
	}
	t := &report.Table{Title: title, Header: []string{"layer", "pairs", "direct ms", "peer cold ms", "cold/direct", "cold minus direct ms",
		"peer warm ms", "warm/direct", "manifest ms direct / cold", "TTFB ms direct / cold",
		"CPU-s/GiB direct: registry + client", "CPU-s/GiB cold: peer + registry + client", "CPU-s/GiB warm: peer + registry + client", "peer peak MiB"}}
	for _, size := range b.options.sizes {
		row := sample{b.pick(e, size, direct), b.pick(e, size, cold), b.pick(e, size, warm)}
		if len(row.direct) > 0 && len(row.cold) > 0 && len(row.warm) > 0 {
			t.Add(append([]string{formatSize(size)}, row.cells()...)...)
		}
	}
	return t
}

func (b *bench) pick(e endpoint, size int64, way string) []result {
	var picked []result
	for _, r := range b.results {
		if r.Registry == e.name && r.Size == size && r.Way == way {
			picked = append(picked, r)
		}
	}
	return picked
}

// sample is all pulls of one size.
type sample struct{ direct, cold, warm []result }

func (s sample) cells() []string {
	total := func(r result) float64 { return 1000 * r.Client.Total }
	manifest := func(r result) float64 { return 1000 * r.Client.Manifest }
	first := func(r result) float64 { return 1000 * r.Client.FirstByte }
	straight, cold, warm := report.Collect(s.direct, total), report.Collect(s.cold, total), report.Collect(s.warm, total)
	var peak int64
	for _, r := range append(s.cold, s.warm...) {
		peak = max(peak, r.PeerPeak)
	}
	return []string{
		strconv.Itoa(len(s.cold)),
		straight.Format(1), cold.Format(1),
		fmt.Sprintf("%.2f", cold.Median()/straight.Median()),
		fmt.Sprintf("%+.1f", cold.Median()-straight.Median()),
		warm.Format(1), fmt.Sprintf("%.2f", warm.Median()/straight.Median()),
		medians(s, manifest), medians(s, first),
		perGiB(s.direct, registryCPU, clientCPU),
		perGiB(s.cold, peerCPU, registryCPU, clientCPU),
		perGiB(s.warm, peerCPU, registryCPU, clientCPU),
		strconv.FormatInt((peak+mib/2)/mib, 10),
	}
}

func medians(s sample, figure func(result) float64) string {
	return fmt.Sprintf("%.1f / %.1f", report.Collect(s.direct, figure).Median(), report.Collect(s.cold, figure).Median())
}

func peerCPU(r result) float64     { return r.PeerCPU }
func registryCPU(r result) float64 { return r.RegistryCPU }
func clientCPU(r result) float64   { return r.ClientCPU }

// perGiB is the median of each processor time by bytes. Of a small layer it
// would only say what a request costs, so it is left out.
func perGiB(runs []result, of ...func(result) float64) string {
	if runs[0].Size < mib {
		return "-"
	}
	text := ""
	for i, figure := range of {
		if i > 0 {
			text += " + "
		}
		text += fmt.Sprintf("%.1f", report.Collect(runs, figure).Median()/float64(runs[0].Size)*(1<<30))
	}
	return text
}
