// Package report says what was measured: the facts of the machine and of the
// source tree, summaries of repeated runs, and Markdown tables.
//
// A report names no machine and no path, so that it can be published as it is.
// The package does no measuring. Values are safe to share when not modified.
package report
