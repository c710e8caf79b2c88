package admin

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal starts redis-cli on a pseudo-terminal and returns the other end of it, and what it has shown so far.
func terminal(t *testing.T, address string, args ...string) (*os.File, *journal) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-cli", append([]string{"-h", host, "-p", port}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "REDISCLI_HISTFILE=/dev/null")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
	shown, done := &journal{}, make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(shown, master) // ends with an error, as terminals do
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		_ = master.SetReadDeadline(time.Now())
		<-done
		_ = master.Close()
	})
	return master, shown
}

// TestRedisCLITerminal types what an operator types: a hint of the arguments, TAB, help.
func TestRedisCLITerminal(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	for _, args := range [][]string{nil, {"-3"}} {
		keyboard, screen := terminal(t, address, args...)
		step := func(typed, want string) {
			t.Helper()
			from := len(screen.String())
			if _, err := io.WriteString(keyboard, typed); err != nil {
				t.Fatal(err)
			}
			eventually(t, fmt.Sprintf("%q on the terminal", want), func() bool { return strings.Contains(screen.String()[from:], want) })
		}
		step("", "> ")
		step("proxy sw\t", "PROXY SWITCH")
		step(" ", "pool group [host port]")
		step("cache ", "group [host port]")
		step("g1\r", "OK 127.0.0.1:6379 127.0.0.1:6381 412")
		step("help proxy route\r", "Shows where keys belong")
		step("proxy info masters\r", "# Masters\r") // raw, not in quotes
		step("quit\r", "quit")
	}
}
