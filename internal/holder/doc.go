//go:build linux

// Package holder keeps the descriptor of a FUSE connection in a process of its own,
// so that the mounts outlive the daemon that serves them: as long as one
// descriptor is open, the kernel lets requests wait.
//
// It guarantees that the holder gives the descriptor to nobody but the user that
// it runs as; that it learns at once when the daemon has gone, however that ended;
// that a holder which nobody came back to lets go after its patience, upon which
// the kernel fails all that waits, instead of leaving it waiting for ever; and that
// a holder without a descriptor ends.
//
// It does not serve, does not start daemons, and knows nothing of images. It does
// as little as possible, because nothing saves the mounts if it ends while no
// daemon runs.
//
// The daemon listens on the socket and gives it to the new process as descriptor 3,
// so there is no moment in which the holder cannot be reached. What they say are
// JSON datagrams on a Unix socket of type SOCK_SEQPACKET: {"do": "put" | "get" |
// "drop", "patience": nanoseconds}, with the descriptor beside a put, and
// {"error", "away": nanoseconds}, with the descriptor beside the answer to a get.
// The connection of the last put or get stays open: its end is the daemon's end.
// Holders of an older version serve daemons of a newer one, so this may only grow.
//
// A [Holder] is used by one goroutine, but for Wait and Close.
package holder
