// Package coordinator is the supernode's judgement: who is in which swarm, who
// trades with whom, and who takes which blocks from the scarce links (the
// supernode's own upload, the origin's download).
//
// It guarantees that every unit of blocks is granted once to somebody before
// any is granted a second time, unless its taker failed or is hopelessly slow;
// that a node is only given neighbours that are alive and not quarantined; that
// the digests it sends come from its own engine or, in mode spread, from the one
// node that was granted the block. All its state is soft: a new coordinator
// learns it from what its members announce.
//
// It moves no bytes: the engine beside it fetches and serves, and tells it what
// arrived through download.Observer.
//
// Concurrency: one mutex guards everything; nothing blocks under it. Messages
// leave through an outbox per member; digests and grants go out in rounds a few
// milliseconds apart.
package coordinator
