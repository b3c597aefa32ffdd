//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/shoal-project/shoal/bench/report"
)

// document is the form of the JSON file.
type document struct {
	Facts   report.Facts     `json:"facts"`
	Quick   bool             `json:"quick,omitempty"`
	Images  map[string]int64 `json:"image_bytes"`
	Bars    []bar            `json:"bars"`
	Samples []sample         `json:"samples"`
}

func (b *bench) report(out io.Writer) error {
	var errs []error
	if b.options.json != "" {
		errs = append(errs, b.writeJSON())
	}
	quick := ""
	if b.options.quick {
		quick = " **Small images (-quick): these figures only show that it works.**"
	}
	_, err := fmt.Fprintf(out, "## Lazy start beside eager pulls\n\n%s.\nImages, as the registry has them: %s. Chunk transport %s, %d runs a row; figures are min/median/max over runs.%s\n",
		b.facts.Line(), b.sizes(), b.options.security, b.options.runs, quick)
	errs = append(errs, err, b.barTable().Write(out))
	for _, work := range allWorkloads {
		if t := b.table(work); t != nil {
			errs = append(errs, t.Write(out))
		}
	}
	return errors.Join(errs...)
}

func (b *bench) writeJSON() error {
	doc := document{Facts: b.facts, Quick: b.options.quick, Images: map[string]int64{}, Bars: b.bars(), Samples: b.samples}
	for name, s := range b.subjects {
		doc.Images[name] = s.size
	}
	text, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.options.json, append(text, '\n'), 0o644)
}

func (b *bench) sizes() string {
	var texts []string
	for _, name := range b.options.needed() {
		texts = append(texts, fmt.Sprintf("%s %.1f MB", name, float64(b.subjects[name].size)/1e6))
	}
	return strings.Join(texts, ", ")
}

func (b *bench) barTable() *report.Table {
	t := &report.Table{Title: "What is to hold", Header: []string{"what", "link", "ours", "beside", "value", "bar", "holds"}}
	for _, r := range b.bars() {
		t.Add(r.What, r.Rate, r.Ours, r.Than, fmt.Sprintf("%.3g%s", r.Value, r.Unit), r.limit(), r.holds())
	}
	return t
}

// column is a figure as a table shows it.
type column struct {
	figure, header string
	unit           float64
	decimals       int
}

var columns = []column{
	{opened, "tree there s", 1, 3},
	{total, "done s", 1, 3},
	{readTime, "read s", 1, 3},
	{again, "again s", 1, 4},
	{moved, "moved MB", 1e6, 1},
	{bytesIn, "read MB", 1e6, 1},
	{files, "files", 1, 0},
	{plain, "plain MB fetched", 1e6, 1},
	{disk, "disk MB", 1e6, 1},
	{cpuPeer, "CPU-s peer", 1, 2},
	{cpuLazyFS, "lazyfs", 1, 2},
	{cpuSupernode, "supernode", 1, 2},
	{cpuContainerd, "containerd", 1, 2},
	{cpuRegistry, "registry", 1, 2},
	{busy, "cores busy", 1, 1},
	{lazyRSS, "lazyfs MiB", mib, 1},
	{lazyAnon, "lazyfs anonymous MiB", mib, 1},
	{lazyPeak, "lazyfs peak MiB", mib, 1},
	{peerRSS, "peer MiB", mib, 1},
	{peerAnon, "peer anonymous MiB", mib, 1},
	{peerPeak, "peer peak MiB", mib, 1},
}

// table has a row for each kind of samples of a workload, in the order in which
// they came, and a column for each figure that any of them has.
func (b *bench) table(work string) *report.Table {
	type kind struct{ rate, image, way string }
	var kinds []kind
	has := map[string]bool{}
	for _, s := range b.samples {
		if s.Work != work {
			continue
		}
		if k := (kind{s.Rate, s.Image, s.Way}); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
		for figure := range maps.Keys(s.Figures) {
			has[figure] = true
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	shown := slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return !has[c.figure] })
	t := &report.Table{Title: work, Header: []string{"link", "image", "way", "runs"}}
	for _, c := range shown {
		t.Header = append(t.Header, c.header)
	}
	for _, k := range kinds {
		row := []string{k.rate, k.image, k.way, ""}
		for _, c := range shown {
			spread := b.pick(work, k.rate, k.image, k.way, c.figure)
			if len(spread) > 0 {
				row[3] = fmt.Sprint(len(spread))
			}
			for i := range spread {
				spread[i] /= c.unit
			}
			row = append(row, spread.Format(c.decimals))
		}
		t.Add(row...)
	}
	return t
}
