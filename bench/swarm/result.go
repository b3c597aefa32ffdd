//go:build linux

package main

import (
	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/report"
)

// result is one run: a crowd of clients pulled one image at once.
type result struct {
	Mode     string          `json:"mode"`
	Workload string          `json:"workload"`
	N        int             `json:"n"`
	Bytes    int64           `json:"image_bytes"`
	Clients  []client.Result `json:"clients"`

	OriginSent    int64 `json:"origin_link_sent"`
	SupernodeSent int64 `json:"supernode_link_sent"`
	PeersSent     int64 `json:"peers_link_sent"`
	LaterSent     int64 `json:"links_sent_afterwards"`
	BlobBytes     int64 `json:"origin_log_blob_bytes"`
	LayerGETs     int   `json:"origin_log_layer_gets"`

	PeersCPU     float64 `json:"cpu_s_peers"`
	SupernodeCPU float64 `json:"cpu_s_supernode"`
	RegistryCPU  float64 `json:"cpu_s_registry"`
	ClientsCPU   float64 `json:"cpu_s_clients"`
	MachineCPU   float64 `json:"cpu_s_machine"`
	Elapsed      float64 `json:"elapsed_s"`

	PeerPeak      int64 `json:"peak_memory_peer"`
	SupernodePeak int64 `json:"peak_memory_supernode"`
	RegistryPeak  int64 `json:"peak_memory_registry"`
}

// err is the first client's trouble, or empty.
func (r result) err() string {
	for _, c := range r.Clients {
		if c.Error != "" {
			return c.Error
		}
	}
	return ""
}

// slowest is how long the last client took.
func (r result) slowest() float64 {
	var worst float64
	for _, c := range r.Clients {
		worst = max(worst, c.Total)
	}
	return worst
}

func (r result) medianTotal() float64 {
	return report.Collect(r.Clients, func(c client.Result) float64 { return c.Total }).Median()
}

func (r result) medianFirstByte() float64 {
	return report.Collect(r.Clients, func(c client.Result) float64 { return c.FirstByte }).Median()
}

// images expresses bytes as a multiple of the image.
func (r result) images(bytes int64) float64 { return float64(bytes) / float64(r.Bytes) }

// share expresses bytes as a part of all that was delivered.
func (r result) share(bytes int64) float64 { return r.images(bytes) / float64(r.N) }

// perGiB expresses processor time by what was delivered.
func (r result) perGiB(seconds float64) float64 {
	return seconds / (float64(r.Bytes) * float64(r.N) / (1 << 30))
}

// coresUsed is how many processors all that was measured kept busy.
func (r result) coresUsed() float64 {
	return (r.PeersCPU + r.SupernodeCPU + r.RegistryCPU + r.ClientsCPU) / r.Elapsed
}

// coresBusy is how many the whole machine kept busy.
func (r result) coresBusy() float64 { return r.MachineCPU / r.Elapsed }

func (r result) clientPeak() int64 {
	var worst int64
	for _, c := range r.Clients {
		worst = max(worst, c.PeakMemory)
	}
	return worst
}

// fluidBound is the least time in which a crowd could have it all: the image
// must leave the origin once, enter each host once, and all that is received
// must be sent by the origin or by a peer. Every link has the same rate.
func fluidBound(image int64, n int, bytesPerSecond float64) float64 {
	f, crowd := float64(image), float64(n)
	return max(f/bytesPerSecond, crowd*f/(bytesPerSecond*(1+crowd)))
}
