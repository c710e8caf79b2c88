package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

// loadChild is a load generator in a process of its own, whose connections are open and used.
type loadChild struct {
	fleet *fleet
	*process
	in   *os.File
	out  *os.File
	read *bufio.Reader
	free func() bool
}

// startLoad starts a load generator and returns when it is ready. The caller closes it.
func (f *fleet) startLoad(ctx context.Context, cpus string, spec loadSpec) (*loadChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inRead.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		inWrite.Close()
		return nil, err
	}
	defer outWrite.Close()
	p, err := f.start(command{name: "load", cpus: cpus, argv: append([]string{self, "load"}, spec.args()...), stdin: inRead, stdout: outWrite})
	if err != nil {
		inWrite.Close()
		outRead.Close()
		return nil, err
	}
	c := &loadChild{fleet: f, process: p, in: inWrite, out: outRead, read: bufio.NewReader(outRead)}
	// Killing it ends the reads below.
	c.free = context.AfterFunc(ctx, func() { p.signal(syscall.SIGKILL) })
	outWrite.Close()
	line, err := c.read.ReadString('\n')
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil || line != "ready\n":
		<-p.done
		err = p.failed("did not get ready")
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// begin lets it send.
func (c *loadChild) begin() error {
	if _, err := c.in.WriteString("go\n"); err != nil {
		return fmt.Errorf("load generator: %w", err)
	}
	return nil
}

// result waits for the end of the load.
func (c *loadChild) result(ctx context.Context) (loadResult, error) {
	line, err := c.read.ReadBytes('\n')
	if ctx.Err() != nil {
		return loadResult{}, ctx.Err()
	}
	if err != nil {
		<-c.done
		return loadResult{}, c.failed("gave no result")
	}
	var r loadResult
	if err := json.Unmarshal(line, &r); err != nil {
		return loadResult{}, fmt.Errorf("load generator: %w", err)
	}
	return r, nil
}

func (c *loadChild) close() {
	c.free()
	c.in.Close()
	c.out.Close()
	c.fleet.stop(c.process)
}
