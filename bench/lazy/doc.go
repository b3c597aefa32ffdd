//go:build linux

// Command lazy measures how soon and how fast programs run from an image that is mounted
// and not downloaded, beside the eager ways of the same machine: containerd's
// pull and unpack to overlayfs, and `curl | tar x` to a directory.
//
// Two hosts of a lab: the hub has a docker-registry and Shoal's supernode, with
// their files on the lab's tmpfs, as a remote machine's page cache would have
// them; the node has the peer and the lazy file system, or containerd, or curl
// and tar, with their files on a real disk. The link between them is not shaped,
// or has -rates. Every run of every way begins with empty stores and a dropped
// page cache, and the ways take turns. What reads is always a process of its own
// (package reader), never this one.
//
// The images are made of this machine's Go tree and module cache, of Debian's
// packages, and of generated files; they do not depend on the run. Root is needed.
// Everything is mounted in a mount namespace that ends with this process; its
// directories on the disk are removed when it ends, and after a kill -9 by the
// next run. See bench/README.md for what the columns mean.
package main
