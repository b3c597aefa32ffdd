//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/bench/reader"
	"github.com/shoal-project/shoal/internal/lazyfs"
)

// start measures the time to the first useful output.
func (b *bench) start(ctx context.Context) error {
	for _, image := range []string{imagePython, imageGo} {
		do := func(ctx context.Context, root string) (reader.Result, error) {
			job := program(image)
			job.Root = root
			return b.read(ctx, job)
		}
		for _, name := range []string{wayLazy, wayDemand, wayNothing, wayContainerd, wayTar} {
			if err := b.once(ctx, workStart, name, image, do, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// tree reads all of an image once. The eager ways read nothing: what they take is
// what they take to have it.
func (b *bench) tree(ctx context.Context) error {
	do := func(ctx context.Context, root string) (reader.Result, error) {
		return b.read(ctx, reader.Job{Kind: reader.Walk, Root: root})
	}
	for _, image := range []string{imagePython, imageGo, imageSmall} {
		for _, name := range []string{wayLazy, wayNothing} {
			if err := b.once(ctx, workTree, name, image, do, func(w way, f map[string]float64) error {
				return b.measureDisk(ctx, w, f)
			}); err != nil {
				return err
			}
		}
		if b.options.wants(workStart) && image != imageSmall {
			continue // the start has measured them
		}
		for _, name := range []string{wayContainerd, wayTar} {
			if err := b.once(ctx, workTree, name, image, nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureDisk waits until all of the only image is on the node, and compares what
// came with what the node's daemons take.
func (b *bench) measureDisk(ctx context.Context, w way, figures map[string]float64) error {
	lazy, ok := w.(*lazyWay)
	if !ok {
		return nil
	}
	image, err := b.complete(ctx, lazy)
	if err != nil {
		return err
	}
	used, err := usage(lazy.node.Data()...)
	if err != nil {
		return err
	}
	figures[disk], figures[plain] = float64(used), float64(image.Fetched)
	figures[diskShare] = float64(used) / float64(image.Fetched)
	figures[lazyPeak], figures[peerPeak] = float64(lazy.node.LazyFS.PeakMemory()), float64(lazy.node.Peer.PeakMemory())
	return nil
}

// completeLimit bounds the wait for the background fill.
const completeLimit = 5 * time.Minute

// complete waits until the node's only image is complete.
func (b *bench) complete(ctx context.Context, w *lazyWay) (lazyfs.ImageStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	for {
		s, err := w.node.Status(ctx)
		if err != nil {
			return lazyfs.ImageStatus{}, err
		}
		if len(s.Images) != 1 {
			return lazyfs.ImageStatus{}, fmt.Errorf("lazyfs has %d images, want 1", len(s.Images))
		}
		if s.Images[0].State == lazyfs.StateComplete {
			return s.Images[0], nil
		}
		select {
		case <-ctx.Done():
			return lazyfs.ImageStatus{}, fmt.Errorf("the image is not complete (%d of %d bytes): %w", s.Images[0].Present, s.Images[0].Bytes, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// file reads one large file once, beside curl of the same file.
func (b *bench) file(ctx context.Context) error {
	do := func(ctx context.Context, root string) (reader.Result, error) {
		return b.read(ctx, reader.Job{Kind: reader.Read, Root: root, Files: []string{largeFile}})
	}
	for _, name := range []string{wayLazy, wayNothing} {
		if err := b.once(ctx, workFile, name, imageLarge, do, nil); err != nil {
			return err
		}
	}
	return b.curl(ctx)
}

func (b *bench) curl(ctx context.Context) error {
	if err := cold(ctx); err != nil {
		return err
	}
	s := b.subjects[imagePlain]
	url := fmt.Sprintf("http://%s/v2/bench/%s/blobs/%s", b.registry.Addr(), s.name, s.layers[0])
	before, err := b.node.Counters()
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err := runIn(ctx, b.node, "curl", "-sSf", "-o", "/dev/null", url); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	after, err := b.node.Counters()
	if err != nil {
		return err
	}
	b.add(workFile, imageLarge, wayCurl, map[string]float64{readTime: took, moved: float64(carried(after.Sub(before))), bytesIn: float64(s.size)})
	return nil
}

// The sets of small files.
const (
	near = "small, neighbours"
	far  = "small, scattered"
)

// small reads 3,000 small files, cold and again, lazily and from a directory.
func (b *bench) small(ctx context.Context) error {
	for _, set := range []struct {
		name  string
		files []string
	}{{near, neighbours(b.options.quick)}, {far, scattered(b.options.quick)}} {
		job := reader.Job{Kind: reader.Read, Files: set.files, Times: 2}
		b.subjects[set.name] = b.subjects[imageSmall]
		err := b.once(ctx, workSmall, wayLazy, set.name, func(ctx context.Context, root string) (reader.Result, error) {
			job.Root = root
			return b.read(ctx, job)
		}, nil)
		if err != nil {
			return err
		}
		if b.rate != b.options.rates[0] {
			continue // a directory on the disk has no link
		}
		err = b.once(ctx, workSmall, wayTar, set.name, func(ctx context.Context, root string) (reader.Result, error) {
			job.Root = root
			if err := cold(ctx); err != nil {
				return reader.Result{}, err
			}
			return b.read(ctx, job)
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}
