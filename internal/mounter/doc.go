//go:build linux

// Package mounter has the kernel mount image trees, over objects that this process
// itself serves by FUSE, in a process of its own: one that waits for its own answer
// could not be killed, and would keep all that it has open.
//
// The process ends with the one that started it. If that is killed while the kernel
// asks it for an object, the mounter waits like any reader: for whoever takes the
// file system over, or for its end.
//
// It says nothing of where the mount is to be seen: the caller gets a descriptor
// of it, and nothing is left of a mount that nobody comes for.
//
// A [Mounter] is safe for concurrent use.
package mounter
