// Package node is a node's identity and its control port: proved streams of
// messages to other nodes, on libp2p.
//
// An [Identity] is an Ed25519 key in a file; the node's name holds the public
// key. A [NetworkKey] makes a set of nodes one cluster: connections run inside
// libp2p's private network, so who has not the key cannot even begin a
// handshake, and a node without a key listens on loopback only. Inside it Noise
// proves both names, and yamux carries the streams. Each stream speaks one
// [Protocol]; its frames are those of docs/PROTOCOL.md.
//
// What [Conn.Receive] returns is within the bounds that package distribution
// documents. A peer can make a stream hold at most one message, one window of
// 1 MiB and the configured queue. A machine that vanished is noticed within
// twice Config.Keepalive. Nothing is rate-limited by address.
//
// The package does not decide whom to dial or when to dial again, discovers
// nobody, and gives no meaning to messages.
//
// A [Node] and a [Conn] are safe for concurrent use, but one goroutine at a time
// receives from a Conn.
package node
