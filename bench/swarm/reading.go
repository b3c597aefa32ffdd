//go:build linux

package main

import (
	"net/http"
	"slices"
	"time"

	"github.com/shoal-project/shoal/bench/image"
	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/report"
	"github.com/shoal-project/shoal/bench/system"
)

// reading is the state of every counter at one moment.
type reading struct {
	at                                  time.Time
	machine                             time.Duration
	mark                                int64
	origin, supernode, peers            int64
	registryCPU, supernodeCPU, peersCPU time.Duration
	clientsCPU                          time.Duration
	registryPeak, supernodePeak         int64
	peerPeak                            int64
}

// read takes a reading. Only the contender's own daemons are counted, but the
// links carry the little that the others say, too.
func (b *bench) read(c *contender, clients []*system.Client) (reading, error) {
	g := gauge{}
	r := reading{
		origin:    g.sent(b.lab.Host("origin")),
		supernode: g.sent(b.lab.Host("supernode")),
	}
	for _, h := range b.peers() {
		r.peers += g.sent(h)
	}
	r.registryCPU, r.registryPeak = g.process(b.registry.Process)
	if c.cluster != nil {
		r.supernodeCPU, r.supernodePeak = g.process(c.cluster.Supernode)
		for _, p := range c.cluster.Peers {
			cpu, peak := g.process(p)
			r.peersCPU, r.peerPeak = r.peersCPU+cpu, max(r.peerPeak, peak)
		}
	}
	for _, p := range clients {
		cpu, _ := g.process(p.Process)
		r.clientsCPU += cpu
	}
	if g.err != nil {
		return r, g.err
	}
	var err error
	if r.machine, err = report.MachineBusy(); err != nil {
		return r, err
	}
	r.at = time.Now()
	r.mark, err = b.registry.Mark()
	return r, err
}

// gauge reads counters and keeps the first error.
type gauge struct{ err error }

func (g *gauge) sent(h *lab.Host) int64 {
	counters, err := h.Counters()
	g.keep(err)
	return counters.Sent
}

func (g *gauge) process(p *lab.Process) (cpu time.Duration, peak int64) {
	cpu, err := p.CPU()
	g.keep(err)
	return cpu, p.PeakMemory()
}

func (g *gauge) keep(err error) {
	if g.err == nil {
		g.err = err
	}
}

// minus fills a result with what changed since an earlier reading.
func (r reading) minus(before reading, out *result) {
	out.OriginSent = r.origin - before.origin
	out.SupernodeSent = r.supernode - before.supernode
	out.PeersSent = r.peers - before.peers
	out.RegistryCPU = (r.registryCPU - before.registryCPU).Seconds()
	out.SupernodeCPU = (r.supernodeCPU - before.supernodeCPU).Seconds()
	out.PeersCPU = (r.peersCPU - before.peersCPU).Seconds()
	out.ClientsCPU = (r.clientsCPU - before.clientsCPU).Seconds()
	out.Elapsed = r.at.Sub(before.at).Seconds()
	out.MachineCPU = (r.machine - before.machine).Seconds()
	out.PeerPeak, out.SupernodePeak, out.RegistryPeak = r.peerPeak, r.supernodePeak, r.registryPeak
}

// readLog counts what the origin gave of the image's layers, by its own log.
func (b *bench) readLog(mark int64, img *image.Image, out *result) error {
	log, err := b.registry.Since(mark)
	if err != nil {
		return err
	}
	for _, request := range log {
		if request.Method == http.MethodGet && slices.Contains(img.Layers(), request.Blob()) {
			out.LayerGETs++
			out.BlobBytes += request.Bytes
		}
	}
	return nil
}
