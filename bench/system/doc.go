//go:build linux

// Package system runs what a measurement measures, in a lab: a real
// docker-registry as the origin, Shoal's supernode and peers built from this
// source tree, and measuring clients that start together.
//
// Every program runs in its host's network namespace with its files on the
// lab's tmpfs, and ends with the lab. The package measures nothing itself: it
// hands out the processes and the origin's access log.
//
// Values are used by one goroutine at a time.
package system
