// Package membercmd is the commands that peer and supernode have in common, and
// lazyfs has not: status, explain, and the flags of bringing images in. They link
// what a member of a swarm is made of; package cli, with its rules of what a user
// sees, does not.
//
// Commands hold no state and are built anew for each run.
package membercmd
