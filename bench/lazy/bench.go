//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/reader"
	"github.com/shoal-project/shoal/bench/report"
	"github.com/shoal-project/shoal/bench/system"
)

const registryPort = 5000

// warmBytes is memory that is touched before each run; see [lab.WarmMemory].
const warmBytes = 2 << 30

// bench is the hub and the node, and what was measured so far.
type bench struct {
	lab       *lab.Lab
	hub, node *lab.Host
	options   options
	scratch   string
	progress  io.Writer
	registry  *system.Registry
	sealed    *system.Supernode // has seen all images
	binaries  system.Binaries
	facts     report.Facts
	subjects  map[string]*subject
	rate      lab.Rate
	samples   []sample
}

func newBench(ctx context.Context, l *lab.Lab, o options, scratch string, progress io.Writer) (*bench, error) {
	registry, err := system.RegistryVersion(ctx)
	if err != nil {
		return nil, err
	}
	containerd, err := system.ContainerdVersion(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{
		lab: l, hub: l.Host("hub"), node: l.Host("node"), options: o, scratch: scratch, progress: progress,
		facts: report.Gather(ctx, registry, containerd), subjects: map[string]*subject{},
	}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// prepare brings the hub up with all images, also in the supernode's store.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.options.bin != "" {
		b.binaries, err = system.In(b.options.bin)
	} else if err = os.Mkdir(filepath.Join(b.scratch, "bin"), 0o755); err == nil {
		b.binaries, err = system.Build(ctx, filepath.Join(b.scratch, "bin"))
	}
	if err != nil {
		return err
	}
	if b.registry, err = system.StartRegistry(ctx, b.hub, b.hub.At(registryPort)); err != nil {
		return err
	}
	if err := b.pushImages(ctx); err != nil {
		return err
	}
	if b.sealed, err = b.startSupernode(ctx, "sealed", sealedPort); err != nil {
		return err
	}
	for _, name := range b.options.needed() {
		s := b.subjects[name]
		if name == imagePlain {
			continue
		}
		start := time.Now()
		if err := b.sealed.Preheat(ctx, s.reference); err != nil {
			return err
		}
		b.tell("preheated %s, %.1f MB in %d layers, in %.1f s\n", s.name, float64(s.size)/1e6, len(s.layers), time.Since(start).Seconds())
	}
	return nil
}

func (b *bench) pushImages(ctx context.Context) error {
	dir := b.options.images
	if dir == "" {
		dir = filepath.Join(b.scratch, "images")
	}
	w, err := newWorkshop(dir, filepath.Join(b.scratch, "workshop"), b.options.quick, b.tell)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: b.hub.DialContext}
	defer transport.CloseIdleConnections()
	for _, name := range b.options.needed() {
		img, err := w.image(ctx, name)
		if err != nil {
			return err
		}
		if b.subjects[name], err = push(ctx, img, name, b.registry.Addr().String(), transport); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startSupernode(ctx context.Context, name string, port uint16) (*system.Supernode, error) {
	return system.StartSupernode(ctx, system.SupernodeConfig{
		Name: name, Mode: "supernode", Security: b.options.security, FirstPort: port,
		Origin: b.registry.Addr().String(), Binaries: b.binaries, Host: b.hub,
	})
}

func (b *bench) close() error {
	if b.sealed == nil {
		return nil
	}
	var err error
	if b.options.logs != "" {
		err = b.sealed.Save(context.Background(), filepath.Join(b.options.logs, "sealed"))
	}
	return errors.Join(err, b.sealed.Stop())
}

func (b *bench) tell(format string, args ...any) {
	if b.options.verbose {
		fmt.Fprintf(b.progress, format, args...)
	}
}

// setRate shapes both hosts' links.
func (b *bench) setRate(ctx context.Context, rate lab.Rate) error {
	b.rate = rate
	return errors.Join(b.hub.SetRate(ctx, rate), b.node.SetRate(ctx, rate))
}

// cold empties the page cache and the caches of names.
func cold(ctx context.Context) error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("dropping the page cache: %w", err)
	}
	return lab.WarmMemory(ctx, warmBytes)
}

// read runs the measuring reader on the node.
func (b *bench) read(ctx context.Context, job reader.Job) (reader.Result, error) {
	self, err := os.Executable()
	if err != nil {
		return reader.Result{}, err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return reader.Result{}, err
	}
	out, err := runIn(ctx, b.node, self, reader.Argument, string(text))
	if err != nil || job.Kind == reader.Run {
		return reader.Result{}, err
	}
	var result reader.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return result, fmt.Errorf("the reader's result: %w", err)
	}
	return result, nil
}

// runIn runs a program on a host to its end and returns what it printed.
func runIn(ctx context.Context, host *lab.Host, args ...string) (string, error) {
	var out, trouble bytes.Buffer
	p, err := host.Start(lab.Command{Args: args, Stdout: &out, Stderr: &trouble})
	if err != nil {
		return "", err
	}
	if err := p.Wait(ctx); err != nil {
		return "", errors.Join(fmt.Errorf("%w: %s", err, bytes.TrimSpace(trouble.Bytes())), p.Kill())
	}
	return out.String(), nil
}
