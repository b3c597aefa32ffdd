// Package progress shows a pull to whoever started it: bars on a terminal, a
// line an object elsewhere, JSON lines or only the digest on request.
//
// A display takes pull events in order, from one goroutine. It writes to the
// writer that it was given and nowhere else, and keeps no terminal state: after
// Close the cursor stands at the beginning of a fresh line.
package progress
