//go:build linux

// Package mountpoint is what the lazy file system does with the kernel's mount
// table: binding an image onto a directory, putting a writable overlay upon it,
// taking both away, and finding what an earlier process left.
//
// It guarantees that a mount is made whole or not at all, that what it removes
// is named by its caller, and that an error says what the kernel or the user
// lacks and what to do.
//
// It keeps no state. All functions act on the mount namespace of the process and
// may be called from anywhere.
package mountpoint
