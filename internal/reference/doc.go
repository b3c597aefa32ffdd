// Package reference unpacks images by other programs, umoci and containerd, for
// tests that compare Shoal's view of an image with theirs.
//
// [Umoci] replays all layers onto one directory. [Containerd] unpacks each layer
// by itself and has the kernel's overlayfs stack them, as nodes do.
//
// Everything lies in directories that the caller gives and removes. It needs root
// and the programs; tests skip without. A Containerd may be used by one goroutine
// at a time.
package reference
