// Package containerd is a small client of containerd: its content store, images,
// leases and snapshots, as far as bringing an image in takes them. It speaks
// containerd's gRPC API of 1.6 and later over its Unix socket.
//
// What is written is verified by containerd against its digest before it counts.
// A write that broke off goes on where it stopped, also in another process. What
// is made under a lease ([Client.Lease]) is kept from containerd's garbage
// collector until the lease is released, or a day has passed.
//
// It decides nothing: package transfer does. It does not run containers.
//
// All methods are safe for concurrent use, but one blob is written by one caller
// at a time: the second waits.
package containerd
