package main

import "syscall"

// processAttributes: a child must not outlive this program, and Ctrl-C on the terminal is this program's to handle.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
