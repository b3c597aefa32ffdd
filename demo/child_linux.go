package main

import "syscall"

// childAttributes keep a daemon out of the terminal's process group, so that a
// Ctrl-C reaches the demonstration alone, and let it die with it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
