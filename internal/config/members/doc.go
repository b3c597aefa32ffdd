// Package members is the settings of a swarm's members: of the peer and of the
// supernode. It stands apart from package config, which reads them and checks what
// every daemon has, because it links all that a member is made of, libp2p among
// it; lazyfs needs none of that.
//
// It guarantees that Validate reports every problem at once, each with its key.
// Functions hold no state and may be called from anywhere.
package members
