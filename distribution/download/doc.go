// Package download is the engine that every node runs: it opens objects, makes
// their blocks present in the store, and gives them to readers and uploads
// while later blocks are still coming.
//
// One task serves all readers of an object. Where its blocks come from depends
// on who the node is in the object's swarm:
//
//   - An authority (the supernode; a peer without one, or cut off from it) takes
//     blocks from the origin, digests them itself, compares the whole with the
//     object's digest at the end and seals.
//   - A member takes what the supernode grants it, and everything else from its
//     neighbours: first what a reader waits for, then the rarest with random
//     ties. The digests come from the supernode, or from a sealed list.
//
// Guarantees: a block is written, read or passed on only after it was verified
// (an authority's own blocks, provisionally, against the digest that it made);
// what the store held before is verified again before it is used; a source that
// sent a wrong byte is not asked again; a member whose swarm makes no progress
// goes to the origin itself; a reader gets right bytes or an error.
//
// The engine does not decide who takes what from whom across nodes (that is
// package coordinator), and does not evict (that is the store).
//
// Concurrency: a task's state is guarded by its mu. Fetches are goroutines that
// hold no lock while they read, hash or write. Each task has one loop goroutine,
// owned by Engine.Run's group; tasks end with the engine.
package download
