//go:build linux

package main

import (
	"fmt"

	"github.com/shoal-project/shoal/bench/report"
)

// bar is something that is to hold: a value against a limit.
type bar struct {
	What  string  `json:"what"`
	Rate  string  `json:"rate"`
	Ours  string  `json:"ours"`
	Than  string  `json:"than"` // what it is compared with
	Value float64 `json:"value"`
	Limit float64 `json:"limit,omitempty"` // zero: there is none
	Least bool    `json:"least,omitempty"` // the value is to be at least the limit
	Unit  string  `json:"unit"`
}

func (r bar) holds() string {
	switch {
	case r.Limit == 0:
		return "-"
	case r.Least && r.Value >= r.Limit, !r.Least && r.Value <= r.Limit:
		return "yes"
	}
	return "**no**"
}

func (r bar) limit() string {
	switch {
	case r.Limit == 0:
		return "-"
	case r.Least:
		return fmt.Sprintf("≥ %.4g%s", r.Limit, r.Unit)
	}
	return fmt.Sprintf("≤ %.4g%s", r.Limit, r.Unit)
}

// judge makes bars of what was measured; those of nothing are left out.
type judge struct {
	b    *bench
	bars []bar
}

// of is a kind of samples.
type of struct{ work, rate, image, way, figure string }

func (j *judge) spread(o of) report.Spread { return j.b.pick(o.work, o.rate, o.image, o.way, o.figure) }

// ratio compares the medians of two kinds of samples.
func (j *judge) ratio(what string, ours, than of, limit float64, least bool) {
	a, b := j.spread(ours).Median(), j.spread(than).Median()
	if a == 0 || b == 0 {
		return
	}
	value := a / b
	if least { // of speeds, where times were measured
		value = b / a
	}
	j.bars = append(j.bars, bar{
		What: what, Rate: ours.rate, Ours: ours.way + " " + show(ours.figure, a), Than: than.way + " " + show(than.figure, b),
		Value: value, Limit: limit, Least: least, Unit: " ×",
	})
}

// most bounds the median of one kind of samples.
func (j *judge) most(what string, ours of, limit, unit float64, unitName string) {
	if a := j.spread(ours).Median(); a != 0 {
		j.bars = append(j.bars, bar{What: what, Rate: ours.rate, Ours: ours.way, Than: "-", Value: a / unit, Limit: limit, Unit: " " + unitName})
	}
}

func show(figure string, value float64) string {
	switch figure {
	case opened, total, readTime, again:
		if value < 1 {
			return fmt.Sprintf("%.1f ms", value*1000)
		}
		return fmt.Sprintf("%.2f s", value)
	}
	return fmt.Sprintf("%.1f MB", value/1e6)
}

// bars are all that can be judged, in the order of the workloads.
func (b *bench) bars() []bar {
	j := &judge{b: b}
	for _, rate := range b.options.rates {
		j.start(rateName(rate))
	}
	for _, rate := range b.options.rates {
		j.pods(rateName(rate))
	}
	for _, rate := range b.options.rates {
		j.whole(rateName(rate))
	}
	first := rateName(b.options.rates[0])
	for _, rate := range b.options.rates {
		j.files(rateName(rate))
	}
	j.plain(first)
	return j.bars
}

var eager = []string{wayContainerd, wayTar}

func (j *judge) start(rate string) {
	for _, image := range []string{imagePython, imageGo} {
		for _, way := range []string{wayLazy, wayNothing} {
			for _, than := range eager {
				j.ratio(image+": first useful output", of{workStart, rate, image, way, total}, of{workStart, rate, image, than, total}, 0, false)
			}
		}
		for _, way := range []string{wayLazy, wayDemand} {
			j.ratio(image+": bytes moved until then", of{workStart, rate, image, way, moved}, of{workStart, rate, image, wayTar, moved}, 0, false)
		}
	}
}

func (j *judge) pods(rate string) {
	for _, image := range podImages {
		for _, way := range []string{wayLazy, wayNothing} {
			j.ratio(image+": a container's first output", of{workPods, rate, image, way, total}, of{workPods, rate, image, wayContainerd, total}, 0, false)
		}
		j.ratio(image+": bytes moved until then", of{workPods, rate, image, wayLazy, moved}, of{workPods, rate, image, wayContainerd, moved}, 0, false)
	}
}

func (j *judge) whole(rate string) {
	for _, image := range []string{imagePython, imageGo, imageSmall} {
		for _, way := range []string{wayLazy, wayNothing} {
			for _, than := range eager {
				limit := 0.0
				if way == wayLazy && than == wayContainerd {
					limit = 1.05
				}
				j.ratio(image+": whole tree, cold", of{workTree, rate, image, way, total}, of{"", rate, image, than, opened}, limit, false)
			}
		}
		j.most(image+": room on the disk / plain bytes fetched", of{workTree, rate, image, wayLazy, diskShare}, 1.05, 1, "×")
	}
}

func (j *judge) files(rate string) {
	j.ratio("large file, cold: speed", of{workFile, rate, imageLarge, wayLazy, readTime}, of{workFile, rate, imageLarge, wayCurl, readTime}, 0.9, true)
	j.ratio("large file, cold: speed", of{workFile, rate, imageLarge, wayNothing, total}, of{workFile, rate, imageLarge, wayCurl, readTime}, 0, true)
	limit := 0.0
	if rate == rateName(0) {
		limit = 0.5
	}
	j.most("3,000 cold files of directories in a row", of{workSmall, rate, near, wayLazy, readTime}, limit, 1, "s")
	j.most("3,000 cold files all over the tree", of{workSmall, rate, far, wayLazy, readTime}, 0, 1, "s")
}

func (j *judge) plain(rate string) {
	for _, w := range []struct {
		job   string
		limit float64
		least bool
	}{{warmSmall, 2, false}, {warmSequential, 0.9, true}, {warmFind, 1.5, false}, {warmRandom, 0.7, true}} {
		what := w.job + ", warm: time"
		if w.least {
			what = w.job + ", warm: speed"
		}
		j.ratio(what, of{workWarm, rate, w.job, wayLazy, again}, of{workWarm, rate, w.job, wayExt4, again}, w.limit, w.least)
	}
	for _, job := range []string{warmFind, warmSmall, warmSequential, warmRandom} {
		j.ratio(job+", warm, graduated: speed", of{workWarm, rate, job, wayNative, again}, of{workWarm, rate, job, wayOverlay, again}, 0.95, true)
	}
	j.most("mount of many entries, first time", of{workMount, rate, imageMany, wayLazy, opened}, 100, 0.001, "ms")
	j.most("mount of many entries, again", of{workMount, rate, imageMany, wayLazy, again}, 100, 0.001, "ms")
	j.most("lazyfs with ten images", of{workMemory, rate, "ten images", wayLazy, lazyRSS}, 64, mib, "MiB")
	j.most("of it, not pages of files", of{workMemory, rate, "ten images", wayLazy, lazyAnon}, 0, mib, "MiB")
	j.most("peer with ten images", of{workMemory, rate, "ten images", wayLazy, peerRSS}, 96, mib, "MiB")
	j.most("peer, at its most", of{workMemory, rate, "ten images", wayLazy, peerPeak}, 96, mib, "MiB")
	for _, image := range []string{imagePythonNew, imageGoNew} {
		if s := j.b.subjects[image]; s != nil {
			for _, way := range []string{wayLazy, wayContainerd} {
				j.most(image+": moved / version 2 in the registry", of{workUpgrade, rate, image, way, moved}, 0, float64(s.size), "×")
			}
		}
	}
}
