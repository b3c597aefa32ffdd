// Package derive makes remote images from registry images: the layer map and the
// content objects of each layer, in the one pass in which the layer comes from its
// origin, and the image tree over them.
//
// A Deriver runs in the supernode, and in a peer that has none or cannot reach
// it. What it has made once it keeps: maps and bindings in its directory, objects
// in the store. Nothing that it makes counts before the layer's blob matched its
// digest and the plain bytes matched the diffID; then it seals each object and
// signs which tree belongs to the list of diffIDs. After Tree returned, every
// object of the tree is whole in the store; the store's quota may evict some
// later, and the next call makes them again.
//
// The directory: maps/<diffID>.map (package layer), trees/<key>.binding, where the
// key is the SHA-256 over the diffIDs (after a byte 1 for the last layer alone),
// and known.db, which remembers where the bytes of small files lie (bbolt; it may
// be deleted while nobody has it open).
//
// A Deriver is safe for concurrent use; calls for one layer or image share the
// work.
package derive
