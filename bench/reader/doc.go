//go:build linux

// Package reader is the measuring reader: a process that uses a directory as
// programs use the root of an image, and tells how long that took.
//
// [Main] is the reader as a process. Its argument is a [Job] as JSON; it prints a
// [Result]. A job of the kind Run prints nothing itself: the program that it
// becomes does. A program that serves a file system must not read it itself, and
// a measuring program should not share its memory and threads with what it
// measures: so this is a process of its own.
//
// It reads each file from beginning to end in pieces of 1 MiB, one file after
// another, and counts the bytes; it looks at no content. Times are of the
// monotonic clock, from before the first open until after the last close.
package reader
