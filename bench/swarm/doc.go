//go:build linux

// Command swarm measures simultaneous cold pulls of one image by N hosts: through Shoal,
// in both of its ways to the origin, beside the same pulls made directly from
// the origin's registry, in one run on one machine.
//
// It builds a lab (an origin, a supernode and peers, each in a network namespace
// behind links of -rate each way, files on tmpfs), starts docker-registry on the
// origin and one Shoal cluster for each mode, and lets N clients pull an image
// that nobody has seen, released at one instant. Every run has an image of its
// own. Modes take turns, so that a disturbance of the machine meets them all.
// Clusters stay up for the runs of one workload and N, then start afresh with
// empty stores; an 8 MiB image is pulled by all peers first.
//
// The report is Markdown on standard output, and JSON with -json. Root is
// needed. See bench/README.md for what the columns mean.
package main
