// Package distribution is the vocabulary of the swarm: sources and nodes, the
// messages of control streams, and the small interfaces by which the packages
// below it meet.
//
//   - origin reads registries ([Origin], [Forwarder]);
//   - node gives identity and control streams ([Conn], [Message]);
//   - exchange moves blocks between nodes ([Exchange], [Uploads]);
//   - coordinator is the supernode's judgement;
//   - download is the engine that every node runs.
//
// The package holds no state and starts no goroutine. Every message says its
// bounds in Validate; whoever receives one calls it before use.
package distribution
