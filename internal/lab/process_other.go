//go:build !linux

package lab

import "syscall"

// childAttributes keeps Ctrl-C for the lab alone, which stops the others in order.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
