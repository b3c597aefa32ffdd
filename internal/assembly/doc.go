// Package assembly puts a daemon together from its settings: the parts that a
// peer and a supernode share, each opened once, in the order of their needs, and
// closed in the opposite order.
//
// It guarantees that a daemon that cannot be put together leaves nothing open,
// that registry and admin clients are served to the end before the node says
// goodbye to its swarms, and that the store is made durable last.
//
// It judges nothing and moves no bytes. A daemon is run once.
package assembly
