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
	Facts    report.Facts `json:"facts"`
	Rate     string       `json:"rate"`
	Security string       `json:"security"`
	Results  []result     `json:"results"`
}

func (b *bench) report(out io.Writer) error {
	var errs []error
	if b.options.json != "" {
		doc := document{Facts: b.facts, Rate: b.options.rate.String(), Security: b.options.security, Results: b.results}
		text, err := json.MarshalIndent(doc, "", " ")
		if err == nil {
			err = os.WriteFile(b.options.json, append(text, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	_, err := fmt.Fprintf(out, "## Simultaneous cold pulls\n\n%s.\nLinks %s each way, %d peers up, chunk transport %s, %d runs a row; figures are min/median/max over runs.\n",
		b.facts.Line(), b.options.rate, b.options.peers, b.options.security, b.options.runs)
	errs = append(errs, err)
	for _, w := range b.options.workloads {
		errs = append(errs, b.table(w).Write(out))
	}
	return errors.Join(append(errs, b.failures(out))...)
}

// failures lists the runs that did not end well, which no row's figures
// include, and is an error if there are any.
func (b *bench) failures(out io.Writer) error {
	failed := 0
	for _, r := range b.results {
		if r.err() == "" {
			continue
		}
		if failed++; failed == 1 {
			fmt.Fprint(out, "\n### Failed runs\n\n")
		}
		fmt.Fprintf(out, "- %s, workload %s, N = %d, after %.2f s: %s\n", name(r.Mode), r.Workload, r.N, r.slowest(), r.err())
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed; the report lists them, and -logs keeps what the daemons say", failed, len(b.results))
	}
	return nil
}

func (b *bench) table(w workload) *report.Table {
	t := &report.Table{
		Title: fmt.Sprintf("Workload %s: %d × %d MiB", w.name, w.layers, w.layerBytes/mib),
		Header: []string{"system", "N", "runs ok", "client median s", "slowest client s", "slowest/T_min", "slowest/direct",
			"TTFB median s", "origin × (log)", "origin × (link)", "layer GETs", "sent by peers / supernode", "moved afterwards ×",
			"CPU-s/GiB system (supernode + peers)", "CPU-s/GiB registry", "CPU-s/GiB client", "cores busy: these / machine",
			"peak MiB peer / supernode / registry / client"},
	}
	for _, mode := range b.options.modes {
		for _, n := range b.options.crowds {
			if runs := b.pick(w.name, mode, n); len(runs) > 0 {
				t.Add(b.row(mode, n, runs)...)
			}
		}
	}
	return t
}

// pick returns the runs of one row.
func (b *bench) pick(workload, mode string, n int) []result {
	var runs []result
	for _, r := range b.results {
		if r.Workload == workload && r.Mode == mode && r.N == n {
			runs = append(runs, r)
		}
	}
	return runs
}

func (b *bench) row(mode string, n int, all []result) []string {
	var runs []result
	for _, r := range all {
		if r.err() == "" {
			runs = append(runs, r)
		}
	}
	ok := fmt.Sprintf("%d/%d", len(runs), len(all))
	if len(runs) == 0 {
		row := []string{name(mode), strconv.Itoa(n), ok}
		for range 15 {
			row = append(row, "-")
		}
		return row
	}
	figure := func(decimals int, f func(result) float64) string { return report.Collect(runs, f).Format(decimals) }
	slowest := report.Collect(runs, result.slowest)
	return []string{
		name(mode), strconv.Itoa(n), ok,
		figure(2, result.medianTotal), slowest.Format(2),
		b.overBound(slowest.Median(), runs[0]), b.overDirect(slowest.Median(), runs[0]),
		figure(2, result.medianFirstByte),
		figure(2, func(r result) float64 { return r.images(r.BlobBytes) }),
		figure(2, func(r result) float64 { return r.images(r.OriginSent) }),
		figure(0, func(r result) float64 { return float64(r.LayerGETs) }),
		shares(mode, runs), figure(2, func(r result) float64 { return r.images(r.LaterSent) }), systemCPU(mode, runs),
		figure(1, func(r result) float64 { return r.perGiB(r.RegistryCPU) }),
		figure(1, func(r result) float64 { return r.perGiB(r.ClientsCPU) }),
		fmt.Sprintf("%.1f / %.1f", report.Collect(runs, result.coresUsed).Median(), report.Collect(runs, result.coresBusy).Median()),
		peaks(runs),
	}
}

func name(mode string) string {
	if isShoal(mode) {
		return "Shoal, " + mode
	}
	return mode
}

func (b *bench) overBound(slowest float64, r result) string {
	if b.options.rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", slowest/fluidBound(r.Bytes, r.N, b.options.rate.BytesPerSecond()))
}

func (b *bench) overDirect(slowest float64, r result) string {
	direct := report.Collect(b.pick(r.Workload, modeDirect, r.N), result.slowest).Median()
	if direct == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", slowest/direct)
}

func shares(mode string, runs []result) string {
	if !isShoal(mode) {
		return "-"
	}
	peers := report.Collect(runs, func(r result) float64 { return r.share(r.PeersSent) }).Median()
	supernode := report.Collect(runs, func(r result) float64 { return r.share(r.SupernodeSent) }).Median()
	return fmt.Sprintf("%.2f / %.2f", peers, supernode)
}

func systemCPU(mode string, runs []result) string {
	if !isShoal(mode) {
		return "-"
	}
	total := report.Collect(runs, func(r result) float64 { return r.perGiB(r.PeersCPU + r.SupernodeCPU) })
	supernode := report.Collect(runs, func(r result) float64 { return r.perGiB(r.SupernodeCPU) }).Median()
	peers := report.Collect(runs, func(r result) float64 { return r.perGiB(r.PeersCPU) }).Median()
	return fmt.Sprintf("%s (%.1f + %.1f)", total.Format(1), supernode, peers)
}

// peaks are the worst seen in any run of the row.
func peaks(runs []result) string {
	var peer, supernode, registry, client int64
	for _, r := range runs {
		peer, supernode = max(peer, r.PeerPeak), max(supernode, r.SupernodePeak)
		registry, client = max(registry, r.RegistryPeak), max(client, r.clientPeak())
	}
	return fmt.Sprintf("%s / %s / %s / %s", inMiB(peer), inMiB(supernode), inMiB(registry), inMiB(client))
}

func inMiB(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return strconv.FormatInt((bytes+mib/2)/mib, 10)
}
