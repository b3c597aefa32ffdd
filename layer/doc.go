// Package layer turns image layers into what a lazy file system needs: content
// objects and a map of the layer's entries, and the maps of an image's layers
// into one tree.
//
// [Build] reads one layer blob (a tar stream, plain or compressed with gzip or
// zstd) once, from its first byte to its last. It gives the bytes of the files to
// a [Sink]: files of [LargeFile] bytes and more as objects of their own, smaller
// ones in packs of at most one chunk, in tar order. It writes every entry, in tar
// order, to a map file, which [OpenMap] maps into memory. Merge lays the maps of
// an image's layers over each other and writes the image's tree. A [Binding]
// states, under a signature, which tree belongs to which layers.
//
// What is guaranteed: a map appears under its name only after all the plain bytes
// of the layer, with whatever follows the end of the archive, matched the diffID.
// Every byte of the blob and of a map file is taken as hostile: names that leave
// the root, numbers that do not fit, and more of anything than [Limits] allow are
// errors, and an error leaves no map. Building takes a bounded amount of memory
// (some 100 MiB with a million entries), whatever the layer. The same layer, with
// the same [Known], always gives the same objects and the same map.
//
// What is not: the blob's own digest is the caller's to check, by a reader that
// fails at the end of a blob that does not match. Objects that a failed Build had
// already put stay where they are; they are named by their own digests. Build
// does not know the layers below: links and whiteouts are recorded, and resolved
// by Merge.
//
// Any number of Builds may run at once, if sink and known allow it; each runs two
// goroutines beside its caller's, and has ended them when it returns. A [Map] may
// be read by many goroutines until it is closed.
//
// The formats of the map and of the binding are in docs/FORMAT.md.
package layer
