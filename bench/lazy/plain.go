//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shoal-project/shoal/bench/reader"
)

// warmTimes is how often a warm job is done in one run. The first time fills the
// page cache; the median of the others counts.
const warmTimes = 12

// randomPieces is how many pieces of 4 KiB a random reader reads.
const randomPieces = 50_000

// The jobs on complete images.
const (
	warmSequential = "sequential read"
	warmRandom     = "random 4 KiB reads"
	warmFind       = "find with stat"
	warmSmall      = "3,000 small files"
)

// warm compares complete images with the same trees on ext4, all in the page
// cache: as lazyfs shows what was mounted while it was missing, with a directory,
// and as the kernel does, below a container's overlay, with containerd's overlay.
func (b *bench) warm(ctx context.Context) error {
	for _, c := range []struct {
		image string
		jobs  map[string]reader.Job
	}{
		{imageLarge, map[string]reader.Job{
			warmSequential: {Kind: reader.Read, Files: []string{largeFile}},
			warmRandom:     {Kind: reader.Random, Files: []string{largeFile}, Pieces: randomPieces, Seed: 1},
		}},
		{imageGo, map[string]reader.Job{warmFind: {Kind: reader.Find}}},
		{imageSmall, map[string]reader.Job{warmSmall: {Kind: reader.Read, Files: neighbours(b.options.quick)}}},
	} {
		if err := b.warmImage(ctx, b.subjects[c.image], c.jobs); err != nil {
			return fmt.Errorf("warm, %s: %w", c.image, err)
		}
	}
	return nil
}

func (b *bench) warmImage(ctx context.Context, s *subject, jobs map[string]reader.Job) (err error) {
	roots, end, err := b.warmRoots(ctx, s)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(jobs)) {
		job := jobs[name]
		// No file is open or dirty from before, and no page is there but as this kind of
		// reading brings it: pages that came one by one are slower ever after.
		if err := cold(ctx); err != nil {
			return err
		}
		for range b.options.runs {
			for _, w := range []string{wayLazy, wayExt4, wayNative, wayOverlay} {
				job.Root, job.Times = roots[w], warmTimes
				r, err := b.read(ctx, job)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", name, w, err)
				}
				figures := map[string]float64{}
				describe(figures, r)
				b.add(workWarm, name, w, figures)
			}
		}
	}
	return nil
}

// warmRoots has one image in all ways on the node, until end.
func (b *bench) warmRoots(ctx context.Context, s *subject) (roots map[string]string, end func() error, err error) {
	lazy := b.way(wayLazy).(*lazyWay)
	directory := &tarWay{host: b.node, dir: lazy.dir + "-ext4", registry: b.registry.Addr().String()}
	overlay := &containerdWay{host: b.node, dir: lazy.dir + "-overlay"}
	end = func() error { return errors.Join(lazy.close(), directory.close(), overlay.close()) }
	roots = map[string]string{}
	if err := errors.Join(lazy.prepare(ctx), directory.prepare(ctx), overlay.prepare(ctx)); err != nil {
		return nil, end, err
	}
	if roots[wayLazy], err = lazy.mount(ctx, s, untilThere); err != nil { // it began while all was missing, and stays over FUSE
		return nil, end, err
	}
	if roots[wayNative], err = lazy.mount(ctx, s, "--native", "--rw"); err != nil {
		return nil, end, err
	}
	if roots[wayExt4], err = directory.open(ctx, s); err != nil {
		return nil, end, err
	}
	roots[wayOverlay], err = overlay.open(ctx, s)
	return roots, end, err
}

// mount measures how long an image of many entries takes to mount: the first
// time, when its tree is not on the node, and again.
func (b *bench) mount(ctx context.Context) error {
	for range b.options.runs {
		for _, name := range []string{wayLazy, wayNothing} {
			err := b.once(ctx, workMount, name, imageMany, nil, func(w way, figures map[string]float64) error {
				return b.mountAgain(ctx, w.(*lazyWay), figures)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// mountAgain takes the first mount away and mounts the image once more.
func (b *bench) mountAgain(ctx context.Context, w *lazyWay, figures map[string]float64) error {
	if _, err := b.complete(ctx, w); err != nil {
		return err
	}
	if err := w.node.Unmount(ctx, w.lastMount()); err != nil {
		return err
	}
	start := time.Now()
	_, err := w.mount(ctx, b.subjects[imageMany])
	figures[again] = time.Since(start).Seconds()
	return err
}

// memory measures the daemons with ten images, complete and looked through.
func (b *bench) memory(ctx context.Context) (err error) {
	w := b.way(wayLazy).(*lazyWay)
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	for _, image := range tenImages() {
		root, err := w.mount(ctx, b.subjects[image], untilThere)
		if err != nil {
			return fmt.Errorf("memory, %s: %w", image, err)
		}
		if _, err := b.read(ctx, reader.Job{Kind: reader.Find, Root: root}); err != nil {
			return fmt.Errorf("memory, %s: %w", image, err)
		}
	}
	if err := w.allComplete(ctx); err != nil {
		return err
	}
	figures := map[string]float64{}
	for _, d := range []struct {
		pid             int
		rss, anon, peak string
	}{{w.node.LazyFS.PID(), lazyRSS, lazyAnon, lazyPeak}, {w.node.Peer.PID(), peerRSS, peerAnon, peerPeak}} {
		m, err := memoryOf(d.pid)
		if err != nil {
			return err
		}
		figures[d.rss], figures[d.anon], figures[d.peak] = m["VmRSS"], m["RssAnon"], m["VmHWM"]
	}
	b.add(workMemory, "ten images", wayLazy, figures)
	return b.save(w, workMemory)
}

// upgrade measures what a second version of an image moves where the first one
// is, all of it.
func (b *bench) upgrade(ctx context.Context) error {
	for range min(b.options.runs, 3) { // it is a matter of bytes
		for _, pair := range [][2]string{{imagePython, imagePythonNew}, {imageGo, imageGoNew}} {
			for _, name := range []string{wayLazy, wayContainerd} {
				if err := b.upgradeOnce(ctx, name, b.subjects[pair[0]], b.subjects[pair[1]]); err != nil {
					return fmt.Errorf("upgrade, %s, %s: %w", pair[1], name, err)
				}
			}
		}
	}
	return nil
}

func (b *bench) upgradeOnce(ctx context.Context, name string, first, second *subject) (err error) {
	w := b.way(name)
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	have := func(s *subject) error {
		switch w := w.(type) {
		case *lazyWay:
			if _, err := w.mount(ctx, s, untilThere); err != nil {
				return err
			}
			return w.allComplete(ctx)
		case *containerdWay:
			return w.containerd.Pull(ctx, s.reference)
		}
		return errors.New("there is no such way to upgrade")
	}
	if err := have(first); err != nil {
		return err
	}
	before, err := b.node.Counters()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := have(second); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	after, err := b.node.Counters()
	if err != nil {
		return err
	}
	b.add(workUpgrade, second.name, name, map[string]float64{moved: float64(carried(after.Sub(before))), total: took})
	return b.save(w, workUpgrade+"-"+second.name)
}
