// Package base is what every daemon of Shoal stands on: its data directory, its
// metrics, its admin port and socket, and the order in which servers and tasks
// end.
//
// It guarantees that clients on this machine are served to the end before the
// tasks behind them are told to end, and that what was opened is closed in the
// opposite order.
//
// It knows nothing of swarms, registries or file systems, so that a program that
// needs only some of these links only them. A Base belongs to one daemon, which is
// run once; its methods are called by that daemon's assembly alone.
package base
