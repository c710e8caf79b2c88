package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Nutcracker is a running twemproxy, to compare with.
type Nutcracker struct {
	*Process
	File string // its configuration
}

// StartNutcracker starts Debian's nutcracker with the configuration and waits until addr accepts.
func StartNutcracker(t testing.TB, config, addr string) *Nutcracker {
	t.Helper()
	dir := t.TempDir()
	n := &Nutcracker{File: filepath.Join(dir, "nutcracker.yml")}
	if err := os.WriteFile(n.File, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stats := strconv.Itoa(Port(t))
	program := "nutcracker"
	if _, err := os.Stat("/usr/sbin/nutcracker"); err == nil {
		program = "/usr/sbin/nutcracker" // not on the PATH of everybody
	}
	n.Process = start(t, "nutcracker", program, "-c", n.File, "-a", "127.0.0.1", "-s", stats, "-m", "16384", "-p", filepath.Join(dir, "pid"))
	Eventually(t, Patience, "nutcracker accepts", func() error {
		if n.Exited() {
			return errors.New("it has exited: " + n.log.tail(5))
		}
		c, err := Dial(addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return n
}
