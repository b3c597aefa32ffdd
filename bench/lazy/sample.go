//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/reader"
	"github.com/shoal-project/shoal/bench/report"
)

// The figures of runs.
const (
	opened        = "opened_s"      // until the tree was there
	total         = "total_s"       // until what was done with it was done
	readTime      = "read_s"        // what the reader measured, of its first time
	again         = "again_s"       // of the times after the first (their median), or of a second mount
	moved         = "moved_bytes"   // in and out of the node, headers included
	disk          = "disk_bytes"    // that the node's daemons take
	plain         = "plain_bytes"   // of the image's objects that the node fetched
	diskShare     = "disk_share"    // of the two
	bytesIn       = "read_bytes"    // that the reader got
	files         = "read_files"    // that the reader saw
	busy          = "machine_cores" // processors that were busy, for whom ever
	cpuPeer       = "cpu_peer_s"    // processor time
	cpuLazyFS     = "cpu_lazyfs_s"
	cpuSupernode  = "cpu_supernode_s"
	cpuRegistry   = "cpu_registry_s"
	cpuContainerd = "cpu_containerd_s"
	lazyRSS       = "lazyfs_rss"  // resident memory
	lazyAnon      = "lazyfs_anon" // of it, what is not pages of files
	lazyPeak      = "lazyfs_peak" // most resident memory
	peerRSS       = "peer_rss"
	peerAnon      = "peer_anon"
	peerPeak      = "peer_peak"
)

// sample is one measurement.
type sample struct {
	Work    string             `json:"work"`
	Rate    string             `json:"rate"`
	Image   string             `json:"image"`
	Way     string             `json:"way"`
	Figures map[string]float64 `json:"figures"`
}

// add keeps a sample.
func (b *bench) add(work, image, way string, figures map[string]float64) {
	b.samples = append(b.samples, sample{Work: work, Rate: rateName(b.rate), Image: image, Way: way, Figures: figures})
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		decimals := 0
		if strings.HasSuffix(name, "_s") || name == diskShare || name == busy {
			decimals = 4
		}
		fmt.Fprintf(&text, " %s %.*f", name, decimals, figures[name])
	}
	b.tell("%-7s %-7s %-15s %-16s%s\n", work, rateName(b.rate), image, way, text.String())
}

// pick gives a figure of all runs of a kind; an empty work is any.
func (b *bench) pick(work, rate, image, way, figure string) report.Spread {
	var picked report.Spread
	for _, r := range b.samples {
		value, has := r.Figures[figure]
		if has && (work == "" || r.Work == work) && r.Rate == rate && r.Image == image && r.Way == way {
			picked = append(picked, value)
		}
	}
	return picked
}

// task is what is done with a tree; nil is nothing.
type task func(ctx context.Context, root string) (reader.Result, error)

// once opens an image with everything fresh and cold and does something with its
// tree. then, if not nil, looks at the way afterwards.
func (b *bench) once(ctx context.Context, work, name, image string, do task, then func(way, map[string]float64) error) error {
	return b.onceBy(ctx, b.way(name), work, name, image, do, then)
}

func (b *bench) onceBy(ctx context.Context, w way, work, name, image string, do task, then func(way, map[string]float64) error) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s, %s, %s, %s: %w", work, rateName(b.rate), image, name, err), b.save(w, "failed"))
		}
		err = errors.Join(err, w.close())
	}()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	if err := cold(ctx); err != nil {
		return err
	}
	figures, err := b.timed(ctx, w, b.subjects[image], do)
	if err == nil && then != nil {
		err = then(w, figures)
	}
	if err == nil {
		b.add(work, image, name, figures)
		err = b.save(w, strings.Join([]string{work, rateName(b.rate), image, strings.ReplaceAll(name, " ", "-")}, "-"))
	}
	return err
}

func (b *bench) timed(ctx context.Context, w way, s *subject, do task) (map[string]float64, error) {
	before, err := b.gauges(w)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	root, err := w.open(ctx, s)
	if err != nil {
		return nil, err
	}
	figures := map[string]float64{opened: time.Since(start).Seconds()}
	took := figures[opened]
	if do != nil {
		result, err := do(ctx, root)
		if err != nil {
			return nil, err
		}
		took = time.Since(start).Seconds()
		figures[total] = took
		describe(figures, result)
	}
	after, err := b.gauges(w)
	if err != nil {
		return nil, err
	}
	for name, value := range after {
		figures[name] = value - before[name]
	}
	figures[busy] /= took
	return figures, nil
}

// gauges are what grows while something is measured.
func (b *bench) gauges(w way) (map[string]float64, error) {
	counters, err := b.node.Counters()
	if err != nil {
		return nil, err
	}
	machine, err := report.MachineBusy()
	if err != nil {
		return nil, err
	}
	gauges := map[string]float64{moved: float64(carried(counters)), busy: machine.Seconds()}
	daemons := map[string]*lab.Process{cpuRegistry: b.registry.Process}
	maps.Copy(daemons, w.daemons())
	for name, p := range daemons {
		used, err := p.CPU()
		if err != nil {
			return nil, err
		}
		gauges[name] = used.Seconds()
	}
	return gauges, nil
}

func describe(figures map[string]float64, r reader.Result) {
	if n := len(r.Seconds); n > 0 {
		figures[readTime], figures[bytesIn], figures[files] = r.Seconds[0], float64(r.Bytes), float64(r.Files)
		if n > 1 {
			figures[again] = report.Spread(r.Seconds[1:]).Median()
		}
	}
}

func carried(c lab.Counters) int64 { return c.Received + c.Sent }

// save keeps what the node's daemons have to say, if that was asked for.
func (b *bench) save(w way, name string) error {
	lazy, ok := w.(*lazyWay)
	if p, is := w.(*podWay); is {
		lazy, ok = p.lazy, p.lazy != nil
	}
	if !ok || lazy.node == nil || b.options.logs == "" {
		return nil
	}
	dir := filepath.Join(b.options.logs, name)
	err := lazy.node.Save(context.Background(), dir)
	if lazy.nothing {
		err = errors.Join(err, lazy.supernode.Save(context.Background(), dir))
	}
	return err
}

// usage is the room that directories take on the disk.
func usage(dirs ...string) (int64, error) {
	var blocks int64
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				blocks += stat.Blocks
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return blocks * 512, nil
}
