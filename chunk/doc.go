// Package chunk is Shoal's vocabulary of content: digests, chunks and blocks,
// chunk lists and the seals under them, have-maps, and the contract of a store.
//
// An object is a digest-named run of bytes. It is cut every [Size] bytes into
// chunks, the unit that is planned and recorded, and each chunk every
// [BlockSize] bytes into blocks, the unit that is verified. A chunk's digest is
// the SHA-256 over its blocks' SHA-256 digests, in order (a [Sums]); so a part
// of a chunk can be checked, given to a reader and relayed while the rest is
// still coming, given the chunk's sums.
//
// A [List] names all chunks of one object. A [Seal] is a supernode's Ed25519
// signature under a list, made only after the whole object matched its own
// digest. A list without a seal that a node trusts is provisional.
//
// The package guarantees that nothing it parses can make it allocate more than
// the documented bounds, and that a value it returns without an error is valid.
// It does no networking and, beside the [Store] contract, no storage; the
// disk's implementation is chunk/diskstore.
//
// Digests, lists, sums and seals are values: safe to share when not modified.
// A [Bitmap] is not safe for concurrent use. A [Store] and its [Object] handles
// are.
package chunk
