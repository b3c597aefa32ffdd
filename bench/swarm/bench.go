//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/image"
	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/report"
	"github.com/shoal-project/shoal/bench/system"
)

const registryPort = 5000

// bench is the lab with the origin in it, and what was measured so far.
type bench struct {
	lab      *lab.Lab
	options  options
	progress io.Writer
	registry *system.Registry
	binDir   string
	binaries system.Binaries
	facts    report.Facts
	seed     uint64
	results  []result
}

func newBench(ctx context.Context, l *lab.Lab, o options, progress io.Writer) (*bench, error) {
	version, err := system.RegistryVersion(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{lab: l, options: o, progress: progress, facts: report.Gather(ctx, version)}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	b.seed = binary.BigEndian.Uint64(seed[:])
	if b.binDir, err = os.MkdirTemp("", "shoal-bench-"); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(o.modes, isShoal) {
		if b.binaries, err = system.Build(ctx, b.binDir); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	origin := l.Host("origin")
	if b.registry, err = system.StartRegistry(ctx, origin, origin.At(registryPort)); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func isShoal(mode string) bool { return mode != modeDirect }

// close removes what is not the lab's to remove.
func (b *bench) close() error { return os.RemoveAll(b.binDir) }

func (b *bench) all(ctx context.Context) error {
	left := len(b.options.workloads) * len(b.options.crowds)
	for _, w := range b.options.workloads {
		for _, n := range b.options.crowds {
			left--
			if err := b.cell(ctx, w, n, b.options.keep && left == 0); err != nil {
				return fmt.Errorf("workload %s, N = %d: %w", w.name, n, err)
			}
		}
	}
	return nil
}

// cell makes all runs of one workload and crowd, the modes taking turns. Its
// clusters are stopped afterwards unless they are to be kept.
func (b *bench) cell(ctx context.Context, w workload, n int, keep bool) (err error) {
	contenders, err := b.startContenders(ctx)
	defer func() {
		for _, c := range contenders {
			err = errors.Join(err, b.save(ctx, c, fmt.Sprintf("%s-%d-%s", w.name, n, c.mode)))
			if !keep || err != nil {
				err = errors.Join(err, c.stop())
			}
		}
	}()
	if err != nil {
		return err
	}
	for _, c := range contenders {
		if err := b.warm(ctx, c); err != nil {
			return fmt.Errorf("warming up %s: %w", c.mode, err)
		}
	}
	for range b.options.runs {
		for _, c := range contenders {
			r, err := b.once(ctx, c, w.name, image.Spec{Layers: w.layers, LayerBytes: w.layerBytes}, n)
			if err != nil {
				return fmt.Errorf("%s: %w", c.mode, err)
			}
			b.results = append(b.results, r)
			b.tell(r)
		}
	}
	return nil
}

// warm lets every peer pull one small image.
func (b *bench) warm(ctx context.Context, c *contender) error {
	r, err := b.once(ctx, c, "warm-up", image.Spec{Layers: 1, LayerBytes: warmUp}, b.options.peers)
	if err == nil && r.err() != "" {
		err = errors.New(r.err())
	}
	return err
}

// once pushes a new image, lets n clients pull it, and measures.
func (b *bench) once(ctx context.Context, c *contender, name string, spec image.Spec, n int) (result, error) {
	b.seed++
	spec.Seed = b.seed
	img, err := image.Make(spec)
	if err != nil {
		return result{}, err
	}
	repository := fmt.Sprintf("bench/run%d", b.seed)
	if err := b.registry.Push(ctx, img, repository, "cold"); err != nil {
		return result{}, err
	}
	clients, err := b.startClients(c, repository, n)
	defer closeAll(clients)
	if err != nil {
		return result{}, err
	}
	// Every peer stores the image, and sockets hold some of it meanwhile.
	if err := lab.WarmMemory(ctx, int64(n)*spec.Bytes()*5/4+1<<29); err != nil {
		return result{}, err
	}
	before, err := b.read(c, clients)
	if err != nil {
		return result{}, err
	}
	reports := system.Release(ctx, clients)
	after, err := b.read(c, clients)
	if err != nil {
		return result{}, err
	}
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	later, err := b.quiet(ctx) // by then the registry has written its last lines, too
	if err != nil {
		return result{}, err
	}
	r := result{LaterSent: later, Mode: c.mode, Workload: name, N: n, Bytes: spec.Bytes(), Clients: reports}
	after.minus(before, &r)
	if err := b.readLog(before.mark, img, &r); err != nil {
		return result{}, err
	}
	return r, b.registry.Forget(img, repository)
}

func (b *bench) startClients(c *contender, repository string, n int) ([]*system.Client, error) {
	var clients []*system.Client
	for _, h := range b.peers()[:n] {
		job := client.Job{Base: "http://" + b.registry.Addr().String(), Repository: repository, Reference: "cold"}
		if c.cluster != nil {
			job = c.cluster.Job(job)
		}
		started, err := system.StartClient(h, job)
		if err != nil {
			return clients, err
		}
		clients = append(clients, started)
	}
	return clients, nil
}

func closeAll(clients []*system.Client) {
	for _, c := range clients {
		_ = c.Close()
	}
}

// peers are the hosts after the origin and the supernode.
func (b *bench) peers() []*lab.Host { return b.lab.Hosts()[2:] }

func (b *bench) tell(r result) {
	if !b.options.verbose {
		return
	}
	fmt.Fprintf(b.progress, "%-9s %s N=%d slowest %.2f s, first byte %.2f s, origin %.2f x, layer GETs %d %s\n",
		r.Mode, r.Workload, r.N, r.slowest(), r.medianFirstByte(), r.images(r.BlobBytes), r.LayerGETs, r.err())
}
