// Package pull brings whole images into a node's store: it resolves a name,
// reads the manifests, chooses platforms, and opens every blob, while it tells
// how far it is and from where the bytes come.
//
// It guarantees that a pull ends without error only when every manifest,
// config and layer of the chosen platforms is in the store, whole and sealed.
// Layers that an image says to fetch from elsewhere (foreign layers) are left
// out and told of.
//
// It does not unpack, and gives nothing to a container engine: an engine that
// pulls the image afterwards finds all of it on this node.
//
// A [Puller] may be used by many at once; two pulls of one object share it.
package pull
