// Package client is the measuring client: it pulls an image as a container
// engine does (manifest, then config and all layers at once), checks every size
// and SHA-256, throws the bytes away, and reports when things happened.
//
// [Main] is the client as a process, which a lab starts on each host. It reads a
// [Job] as one line of JSON, says "ready", reads the wall-clock instant to begin
// at, and prints a [Result]. The instant, not the line's arrival, starts the
// clock, so any number of clients begin together.
//
// It does no authentication and follows no index. It is not safe for hostile
// registries: it is a measuring tool for the lab.
package client
