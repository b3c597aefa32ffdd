// Package registryproxy is the OCI distribution API for pulling, as docker,
// containerd, CRI-O, podman and skopeo speak it, over a swarm's objects and the
// origins behind them.
//
// # Which origin
//
//  1. A query ?ns=HOST (containerd's and CRI-O's mirror protocol): HOST.
//  2. A first path component with a dot or a colon, or "localhost", is a
//     registry: /v2/quay.io/org/name/…, so any client can ask for
//     localhost:7410/quay.io/org/name:tag. Docker's reference grammar has no
//     colon in a path; there a port is written after an underscore:
//     localhost:7410/127.0.0.1_5000/name. That is unambiguous, because a host
//     name has no underscore and a component with a dot is always a registry.
//  3. Otherwise the configured default registry (docker's registry-mirrors).
//
// On Docker Hub a repository of one component gets "library/" before it.
//
// # What it guarantees
//
// A tag is resolved by the first [TagRule] that matches. A manifest's and a
// blob's bytes come by digest from [distribution.Objects]; what that cannot give
// comes straight from the origin, from the byte where it broke off. So a client
// sees one unbroken body, the origin's own refusal, or a cut connection, but
// never a short body that looks complete.
//
// No byte is served to a caller whose own credentials the origin did not accept
// for that repository within Config.AuthCache, nor an object that is not known
// to lie in that repository: the origin said so, or a manifest of that
// repository names it (Config.TrustManifests). While the origin gives no answer,
// a rule's StaleIfError may lengthen both, with a Warning header.
//
// An origin that cannot be reached is 404 to a caller that came by ?ns= (that
// one knows the origin itself and goes there next, whereas containerd treats
// 5xx badly), and 502 or 504 to all others, to whom 404 would be a lie.
//
// # Who is asking
//
// A caller's Authorization goes to the origin, and the origin's 401 with its
// challenge comes back word for word. A request without credentials is made
// with the token that a registry gives to anybody. Most clients but containerd
// decide by the answer to /v2/, which names no origin, whether they send
// credentials; it therefore names the proxy's own token server (see
// Config.Login), whose tokens are the caller's Basic credentials, sealed with a
// key of this process.
//
// # What it does not do
//
// It takes a registry's word for what lies in it: one that says yes to every
// digest could draw objects of others from the swarm, if it knew their digests.
// Where callers do not trust each other, Config.Allow names the registries.
//
// It takes no pushes. It verifies manifests, but leaves the digest of a blob
// that came straight from the origin to the client. It dials nothing itself.
// Digests other than SHA-256, manifests of more than 4 MiB, tag lists and
// referrers pass through and are not kept.
//
// # State
//
// Config.StateDir holds registryproxy.db, a bbolt file of three buckets whose
// values are JSON: "tags" (registry/repository:tag, a space, a hash of the
// Accept list), "manifests" (registry/repository@digest) and "public"
// (registry/repository). It is a cache: written within a second, bounded, made
// anew when damaged. No credential, nor a hash of one, is in it.
//
// A [Proxy] is safe for concurrent use.
package registryproxy
