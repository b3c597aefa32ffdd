//go:build linux

// Package layerstore shows the layers of images to podman and CRI-O, as an
// "additional layer store" of the library containers/storage that both keep their
// images in. For a layer that the store has, nothing is downloaded and unpacked:
// the layer's directory is a link to the store's.
//
// The store is a small FUSE file system, so that looking a layer up is what has it
// opened. Its tree:
//
//	<base64 of the image's reference>/<digest>/diff   a link to the layer's view
//	<base64 of the image's reference>/<digest>/info   what containers/storage records of it
//	<base64 of the image's reference>/<digest>/blob   the registry's bytes, for push and save
//	<base64 of the image's reference>/<digest>/use    creating it says that the layer is used
//
// The digest is the blob's (podman 4), or that of the table of contents in an
// eStargz or zstd:chunked blob (later versions, which look up no other layers).
// Creating "use" counts one use more, and removing the layer's directory one less;
// both fail with ENOENT, as containers/storage expects of a store that counts.
//
// What is guaranteed: a name that is found has its tree on this node, and stays for
// as long as its uses are counted, also across restarts. A layer that cannot be
// shown lazily, or not in time, is not found, and the engine pulls it. Uses that an
// engine forgot to end (it was killed, or its storage deleted) end too, once no
// storage that used the layer refers to it any more.
//
// What is not: the views themselves are another file system's, behind [Layers].
// While nobody serves the store, containers that run are not disturbed, and none
// that stand on its layers can be started.
//
// A Store is safe for concurrent use. Its directory has a file for each layer:
// <SHA-256 of the name>.json, a [record].
package layerstore
