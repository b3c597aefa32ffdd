// Package containerd holds no code: its tests run containerd's own suite for
// snapshotters against Shoal's. It is a module of its own, because that suite
// brings all of containerd/v2 with it.
package containerd
