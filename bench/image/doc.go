// Package image makes images for measurements: random layers of exact sizes,
// the same again for the same seed, and pushes them to a registry.
//
// A layer is a valid tar with one file of random bytes when there is room for
// one, else bare random bytes; it is not compressed, so that its size on the
// wire is its size. Layers are streamed: nothing of their length is held in
// memory. Values are safe for concurrent use.
package image
