package compat

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// standInVar in the environment makes this program what redigo takes for redis-server.
const standInVar = "RESPGATE_STAND_IN"

// standIn is a server that has started and is not there: the one at the port runs already. It ends at SIGINT, also where
// that is ignored at the start as in a shell's background, and when its parent has gone.
func standIn(args []string) int {
	if len(args) > 0 && args[0] == "--version" {
		cmd := exec.Command("redis-server", args...)
		cmd.Stdout = os.Stdout
		if err := cmd.Run(); err != nil {
			return 1
		}
		return 0
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	fmt.Println(" * Ready to accept connections")
	parent, look := os.Getppid(), time.NewTicker(time.Second)
	defer look.Stop()
	for os.Getppid() == parent {
		select {
		case <-end:
			return 0
		case <-look.C:
		}
	}
	return 0
}

// self is the path of this program.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
