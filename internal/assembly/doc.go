// Package assembly puts a peer or a supernode together from its settings: the
// parts that both share, each opened once, in the order of their needs, and closed
// in the opposite order. What every daemon has is in assembly/base; lazyfs is put
// together in assembly/lazy.
//
// It guarantees that a daemon that cannot be put together leaves nothing open,
// that registry and admin clients are served to the end before the node says
// goodbye to its swarms, and that the store is made durable last.
//
// It judges nothing and moves no bytes. A daemon is run once.
package assembly
