// Package testregistry runs registries for tests, benchmarks and the
// demonstration, and tells exactly what was read from them.
//
// [Debian] is the real docker-registry of the Debian package, as a child process
// with its own port and directory, open or with htpasswd; what was read comes
// from its own access log. [Embedded] is an http.Handler in this process, for
// machines without that package: it keeps blobs on disk, honours every form of
// Range, streams uploads of any size, and records the same facts. A [Gate] put
// before a handler stops blob bodies at a byte budget, so that a test can hold a
// transfer at an exact point without clocks.
//
// The byte counts are those of response bodies as handed to the connection: of
// an answer that the client cut short they may include what it never read.
//
// Neither registry collects garbage or expires anything. All methods are safe
// for concurrent use. Whoever starts a Debian stops it.
package testregistry
