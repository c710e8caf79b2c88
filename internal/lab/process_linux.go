package lab

import "syscall"

// childAttributes: a child does not outlive a lab that is killed, and is not in its process group: Ctrl-C is for the lab
// alone, which stops the others in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
