// Package simulation runs the real coordinator and the real engines of a whole
// cluster in one process, under testing/synctest's virtual time, over links that
// carry bytes first come, first served at a given rate.
//
// It is for tests: of the judgement (how near to the fluid bound, how many bytes
// twice) and of faults (a node that dies, lies or crawls), deterministically in
// what is asserted and in seconds of real time. It knows no TCP, no CPU cost and
// no loss.
//
// A [Cluster] must be built, used and closed inside one synctest bubble.
package simulation
