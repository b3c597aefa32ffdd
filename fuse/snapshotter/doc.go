//go:build linux

// Package snapshotter is containerd's proxy snapshotter over the lazy file system:
// the gRPC service containerd.services.snapshots.v1. A layer that containerd is
// about to pull becomes a remote snapshot if its image can be shown lazily: then
// containerd skips the download. Any other layer, and every container, is an
// ordinary overlay snapshot below the root directory.
//
// It guarantees:
//   - An eager pull always works: whatever keeps a layer from being lazy, it is
//     unpacked as usual, and the reason is logged, counted and told by Status.
//     An image is held before its first layer is lazy.
//   - What was acknowledged survives kill -9 at any moment. A view is held before
//     the snapshot that needs it is durable; what is held, or lies on the disk,
//     without a snapshot is let go at the next start.
//   - A remote snapshot shows the sealed view of an image's first layers, whatever
//     its parent is: one lower directory, however many layers there are.
//   - Usage is what is on the disk: of directories by blocks, hard links once; of
//     views what [Images] says, for the one snapshot that holds them.
//
// It does not judge content, and it never looks into a view: the process that
// serves a FUSE mount must not use it.
// It does not survive a loss of power in the middle of an eager unpack: as with
// containerd's own, file contents are not synced.
//
// All methods may be called at once. [New] starts work in the background that
// [Snapshotter.Close] waits for.
//
// # On the disk
//
//	ROOT/metadata.db            bbolt
//	ROOT/snapshots/ID/fs        what an ordinary snapshot adds; of a remote one, a
//	                            symbolic link to its view, where layers lie on it
//	ROOT/snapshots/ID/work      overlayfs' own
//
// The database has one bucket, "snapshots.v1", with four in it:
//
//	snapshots  name                       a snapshot as JSON; the bucket's sequence gives ids
//	children   id of parent, id of child  the child's name
//	images     SHA-256 of the value       an Image as JSON
//	shows      that SHA-256, id           nothing; which remote snapshots are of the image
//
// Ids are unsigned, eight bytes, big endian.
package snapshotter
