//go:build linux

// Package lazyfs is the judgement of the lazy file system's daemon: which images
// are mounted where, what is recorded of that, and what is done when.
//
// It guarantees that what was mounted is recorded before it is mounted, so that a
// daemon that starts again, whatever ended the last one, goes on with its mounts, or,
// where that cannot be, takes away what was left and mounts what is recorded, from
// the disk alone if the peer is away; that an
// image's objects are pinned in the peer's store from before it is mounted until
// it is unmounted; that an image is kept once however often it is mounted; and
// that a tree is served only after all of it was hashed.
//
// It serves no requests of the kernel (package fuse) and brings no bytes (package
// content).
//
// A record is the file images/<tree digest>.json below the data directory, and
// peer.json there remembers where the peer's store is: both are JSON, written
// under another name, synced and renamed. A record without mounts waits for the
// peer to take its pin away. session/ in the run directory has what the next daemon
// needs to go on: session.json, the file system's table of open files, and the
// socket of the process that holds the connection (package holder). scratch/ has the directories of writable mounts.
//
// A [Daemon] is safe for concurrent use. Mounts and unmounts exclude each other;
// nothing is brought in from the network meanwhile.
package lazyfs
