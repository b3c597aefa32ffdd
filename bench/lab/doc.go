//go:build linux

// Package lab is a small network on one machine: hosts, each in a network
// namespace of its own, on a bridge in one more, with links of a chosen rate.
//
// Every host has one interface, eth0, of MTU 1500, with an address in
// 10.77.0.0/24. When [Config.Rate] is set, a token bucket filter shapes both
// ends of the link, so the rate holds in each direction on its own. Filters
// count Ethernet, IP and TCP headers; goodput is about 4.5 % less. No delay is
// added beyond the filter's queue. A tmpfs holds the hosts' directories, so
// that a disk is never what is measured.
//
// What it guarantees: it changes no namespace that it did not make, checks so
// before every command, and never adds an interface to the one it was started
// in. The namespaces have no names and are held by threads of this process, so
// they end with it, however it ends; so do the processes started in them. What
// outlives a killed process, a mount under /run/shoal-lab and control groups of
// the same name, is removed by [Lab.Close], and after a kill -9 by the next
// [New]; the owner's process id and start time are part of the name.
//
// What it does not do: it isolates neither the file system nor process ids, and
// it is no fence against a hostile program. Root is needed; see [Available].
//
// A [Lab], its hosts and its processes are safe for concurrent use. Work in one
// host's namespace ([Host.Do]) runs one piece at a time.
package lab
