// Package testimage builds real container images for tests, benchmarks and the
// demonstration, and pushes them.
//
// Everything is deterministic: the same arguments give the same bytes and so
// the same digests, on every machine (for [GoTree] and [Bootable]: with the same
// Go release and the same Debian package). Images differ in what a registry's
// clients find hard: many layers, huge ones, empty ones, every compression, both
// families of media types, indexes, hard links, whiteouts, extended attributes.
//
// Layers that are stored uncompressed are produced anew by each reader, so that
// one of many gigabytes costs no memory and no disk; compressed ones are held in
// memory. The package pushes and lists images; it neither pulls nor unpacks them.
//
// Images and layers are safe for concurrent use. A reader belongs to one
// goroutine and must be closed.
package testimage
