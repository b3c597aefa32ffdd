// Package exchange moves blocks between nodes over HTTP/1.1: the giving end
// ([Server]) and the asking end ([Client]).
//
// One request asks for a run of whole blocks within one chunk:
//
//	GET /v1/objects/sha256:<hex>
//	Range: bytes=<first>-<last>
//	Shoal-Proof: <proof of membership>
//
// and is answered 206 with exactly those bytes, as they become available: the
// giver may be receiving them itself. Shoal-Sums holds the digests of the
// chunk's blocks when the giver knows them all. Every other answer is an error;
// there are no redirects, no listings and no other routes (docs/PROTOCOL.md).
//
// With security "tls" both sides prove their names with libp2p identity
// certificates in TLS 1.3, and a proof under the network key shows that the
// asker is a member. With security "clear" the proof covers the request and
// serves once; bodies go by sendfile. Either way an outsider is answered 403
// and nothing else.
//
// The package does not verify content: the reader of a [distribution.Transfer]
// checks every block against the chunk's digest. It does not choose whom to ask
// and does not retry.
//
// Server and Client are safe for concurrent use.
package exchange
