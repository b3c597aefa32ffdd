// Package origin reads registries: the [distribution.Origin] and
// [distribution.Forwarder] of a node.
//
// What it guarantees: a blob is read in closed ranges, several at a time, and a
// range that breaks, stalls or is throttled goes on where it stopped. An answer
// counts only if its status, Content-Range, length, encoding, digest header and
// size fit what was asked and what was said before; anything else is a
// [distribution.OriginError]. A redirect never gets the Authorization header of
// another host, and an expired one is resolved again. No more connections than
// configured are open to one registry, Retry-After is honoured for all of its
// requests at once, and a registry at a private, loopback or link-local address
// is only talked to if it is configured; that is checked on the address that is
// dialled, so neither a redirect nor a changing DNS answer gets round it.
//
// What it does not do: it does not check a blob's digest (the reader of the
// whole does), keeps nothing on disk, and never writes to a registry.
//
// Credentials: a caller's Bearer token is sent as it is and a refusal is final.
// Basic credentials and the node's own are exchanged for a token when the
// registry asks for one, and renewed when it expires. Without credentials
// Open and Stat try as anybody; Forward hands the registry's challenge back.
// Mirrors get no credentials unless they are trusted.
//
// Everything is safe for concurrent use. A context given to Open, Stat and
// Forward's call ends that call; one given to Read ends that reader. No
// goroutine outlives a call; timers give idle connections back.
package origin
