//go:build linux

// Command pull measures what one node's own peer costs, or gains, with no other peer
// about: cold pulls through it beside direct pulls of the same images from the
// same docker-registry, in one run, in pairs whose order alternates.
//
// Everything is on the loopback of one host of a lab, unshaped, files on tmpfs.
// The registry is measured twice: bare, where it answers as fast as the machine
// can, and behind a front that gives each connection -slow bytes a second, where
// the registry is the slow side. Every pair has an image of its own, of one
// layer of the given size; a second pull through the peer follows each cold one.
// The client is a process of its own that checks every SHA-256.
//
// The front runs inside this program: its processor time is nobody's in the
// tables. Root is needed. See bench/README.md for what the columns mean.
package main
