// Package daemon is what every long-running process of Shoal does around its
// work: it ends at a signal, listens where it may, and serves until it is told
// to stop.
//
// It guarantees that the first SIGINT or SIGTERM ends the context, so that
// everything is closed in order, and that a second one kills at once; that
// without a network key nothing listens beyond loopback; that a Unix socket is
// never taken from a living process nor left behind; and that [Serve] returns
// only when no request is running.
//
// It holds no state. The functions may be called from any goroutine, except
// that Signals and LimitMemory act on the whole process.
package daemon
