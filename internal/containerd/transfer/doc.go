//go:build linux

// Package transfer brings images through the node's peer into containerd: whole,
// as `ctr images pull` does, or lazily, where the snapshotter shows layers that
// were never unpacked; and, later, the blobs that a lazy pull left out.
//
// It guarantees that an image record appears only when every layer has its
// snapshot and manifests and config are in the content store, and that nothing of
// it is collected as garbage before. What broke off is taken up again where it
// stopped. Blobs are read in place from the peer's store, and verified by
// containerd.
//
// A Mover may be used by many at once.
package transfer
