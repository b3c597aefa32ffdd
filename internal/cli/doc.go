// Package cli is what the command lines of all daemons have in common: how they
// end, where settings come from, and the commands that talk to a running daemon.
//
// The rules of what a user sees:
//
//   - What was asked for goes to standard output, everything else to standard
//     error.
//   - An error is one line, "peer: …", with no capital and no period, and ends
//     with what to do; only configuration problems have one line each.
//   - Nothing asks a question: every command works without a terminal.
//   - The exit status is 0 for success, 1 when what was asked for failed, 2 when
//     it was asked for wrongly (arguments, settings), 130 when interrupted.
//
// Commands hold no state and are built anew for each run.
package cli
