package admin

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// terminal runs redis-cli on a pseudo-terminal, which script (of Debian's bsdutils) makes, and returns its keyboard and what it has shown so far.
func terminal(t *testing.T, address, options string) (keyboard io.Writer, screen *journal) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	// Without a width redis-cli would ask the terminal where its cursor is, and take what is typed for the answer.
	line := fmt.Sprintf("stty rows 50 cols 200 && exec redis-cli -h %s -p %s %s", host, port, options)
	cmd := exec.Command("script", "-q", "-f", "-e", "-c", line, "/dev/null")
	cmd.Env = append(os.Environ(), "TERM=xterm", "SHELL=/bin/sh", "REDISCLI_HISTFILE=/dev/null")
	screen = &journal{}
	cmd.Stdout, cmd.Stderr = screen, screen
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the end of script closes the terminal, which ends redis-cli
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return stdin, screen
}

// TestRedisCLITerminal types what an operator types: a hint of the arguments, TAB, help.
func TestRedisCLITerminal(t *testing.T) {
	t.Parallel()
	_, address := start(t, Config{}, newFake(), io.Discard)
	for _, options := range []string{"", "-3"} {
		keyboard, screen := terminal(t, address, options)
		prompt := address + "> "
		step := func(typed string, want ...string) { // waits for one after the other
			t.Helper()
			from := len(screen.String())
			if _, err := io.WriteString(keyboard, typed); err != nil {
				t.Fatal(err)
			}
			eventually(t, fmt.Sprintf("%q on the terminal", want), func() bool { return inOrder(screen.String()[from:], want) })
		}
		// redis-cli throws away what is typed before its prompt.
		eventually(t, "the prompt", func() bool { return strings.Contains(screen.String(), prompt) })
		step("proxy sw\t", "PROXY SWITCH")
		step(" ", "pool group [host port]")
		step("cache ", "group [host port]")
		step("g1\r", "OK 127.0.0.1:6379 127.0.0.1:6381 412", prompt)
		step("help proxy route\r", "Shows where keys belong", prompt)
		step("proxy info masters\r", "# Masters\r", prompt) // raw, not in quotes
		step("quit\r", "quit")
	}
}

// inOrder says that the words follow each other in s.
func inOrder(s string, words []string) bool {
	for _, w := range words {
		i := strings.Index(s, w)
		if i < 0 {
			return false
		}
		s = s[i+len(w):]
	}
	return true
}
