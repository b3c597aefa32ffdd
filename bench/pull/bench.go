//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/image"
	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/report"
	"github.com/shoal-project/shoal/bench/system"
)

const (
	registryPort = 5000
	frontPort    = 5001
	peerPort     = 7400
)

// Ways to pull.
const (
	direct = "direct"
	cold   = "cold"
	warm   = "warm"
)

// result is one pull.
type result struct {
	Registry string        `json:"registry"` // bare or slow
	Size     int64         `json:"layer_bytes"`
	Way      string        `json:"way"`
	Client   client.Result `json:"client"`

	PeerCPU     float64 `json:"cpu_s_peer"`
	RegistryCPU float64 `json:"cpu_s_registry"`
	ClientCPU   float64 `json:"cpu_s_client"`
	PeerPeak    int64   `json:"peak_memory_peer"`
}

// endpoint is a registry as clients and the peer see it.
type endpoint struct {
	name string
	addr netip.AddrPort
}

// bench is the node, and what was measured so far.
type bench struct {
	options   options
	progress  io.Writer
	node      *lab.Host
	registry  *system.Registry
	front     *system.Front
	endpoints []endpoint
	peer      *system.Peer
	binDir    string
	binaries  system.Binaries
	facts     report.Facts
	seed      uint64
	results   []result
}

func newBench(ctx context.Context, l *lab.Lab, o options, progress io.Writer) (*bench, error) {
	version, err := system.RegistryVersion(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, progress: progress, node: l.Host("node"), facts: report.Gather(ctx, version)}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	b.seed = binary.BigEndian.Uint64(seed[:])
	if b.binDir, err = os.MkdirTemp("", "shoal-bench-"); err != nil {
		return nil, err
	}
	if b.binaries, err = system.Build(ctx, b.binDir); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if err := b.startRegistry(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) startRegistry(ctx context.Context) (err error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	bare := endpoint{name: "bare", addr: netip.AddrPortFrom(loopback, registryPort)}
	b.endpoints = []endpoint{bare}
	if b.registry, err = system.StartRegistry(ctx, b.node, bare.addr); err != nil {
		return err
	}
	if b.options.slow == 0 {
		return nil
	}
	slow := endpoint{name: "slow", addr: netip.AddrPortFrom(loopback, frontPort)}
	b.endpoints = append(b.endpoints, slow)
	b.front, err = system.StartFront(b.node, slow.addr, bare.addr, b.options.slow)
	return err
}

// close ends what is not the lab's to end.
func (b *bench) close() error {
	err := os.RemoveAll(b.binDir)
	if b.front != nil {
		err = errors.Join(err, b.front.Stop())
	}
	return err
}

func (b *bench) all(ctx context.Context) error {
	for _, e := range b.endpoints {
		for _, size := range b.options.sizes {
			if err := b.size(ctx, e, size); err != nil {
				return fmt.Errorf("%s registry, %s: %w", e.name, formatSize(size), err)
			}
		}
	}
	return nil
}

// size measures all pairs of one size, with a fresh peer. The first pair warms
// both ways up and is not counted.
func (b *bench) size(ctx context.Context, e endpoint, size int64) (err error) {
	b.peer, err = system.StartPeer(ctx, system.PeerConfig{
		Name: "peer", FirstPort: peerPort, Origin: e.addr.String(), Binaries: b.binaries, Host: b.node,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.peer.Stop()) }()
	if _, err := b.pair(ctx, e, min(size, mib), false); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	for i := range b.options.pairs(size) {
		results, err := b.pair(ctx, e, size, i%2 == 1)
		if err != nil {
			return err
		}
		b.results = append(b.results, results...)
		if b.options.verbose {
			for _, r := range results {
				fmt.Fprintf(b.progress, "%s %-9s %-6s %.4f s\n", e.name, formatSize(size), r.Way, r.Client.Total)
			}
		}
	}
	return nil
}

// pair pulls one new image directly and through the peer, and once more
// through the peer.
func (b *bench) pair(ctx context.Context, e endpoint, size int64, peerFirst bool) ([]result, error) {
	b.seed++
	img, err := image.Make(image.Spec{Layers: 1, LayerBytes: size, Seed: b.seed})
	if err != nil {
		return nil, err
	}
	repository := fmt.Sprintf("bench/run%d", b.seed)
	if err := b.registry.Push(ctx, img, repository, "cold"); err != nil {
		return nil, err
	}
	ways := []string{direct, cold, warm}
	if peerFirst {
		ways = []string{cold, warm, direct}
	}
	var results []result
	for _, way := range ways {
		r, err := b.once(ctx, e, way, repository)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way, err)
		}
		r.Size = size
		results = append(results, r)
	}
	return results, b.registry.Forget(img, repository)
}

func (b *bench) once(ctx context.Context, e endpoint, way, repository string) (result, error) {
	job := client.Job{Base: "http://" + e.addr.String(), Repository: repository, Reference: "cold"}
	if way != direct {
		job = b.peer.Job(job)
	}
	c, err := system.StartClient(b.node, job)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	before, err := b.cpu(c)
	if err != nil {
		return result{}, err
	}
	if err := lab.WarmMemory(ctx, 1<<30); err != nil {
		return result{}, err
	}
	r := result{Registry: e.name, Way: way, Client: system.Release(ctx, []*system.Client{c})[0]}
	after, err := b.cpu(c)
	if err != nil {
		return result{}, err
	}
	if r.Client.Error != "" {
		return result{}, errors.New(r.Client.Error)
	}
	r.PeerCPU, r.RegistryCPU, r.ClientCPU = after[0]-before[0], after[1]-before[1], after[2]-before[2]
	r.PeerPeak = b.peer.PeakMemory()
	return r, ctx.Err()
}

// cpu reads the seconds used by the peer, the registry and the client.
func (b *bench) cpu(c *system.Client) (seconds [3]float64, err error) {
	for i, p := range []*lab.Process{b.peer.Process, b.registry.Process, c.Process} {
		used, err := p.CPU()
		if err != nil {
			return seconds, err
		}
		seconds[i] = used.Seconds()
	}
	return seconds, nil
}
