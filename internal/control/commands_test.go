package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"respgate/engine/command"
	"respgate/internal/inventory"
)

// table is what a server says of its commands.
type table struct {
	rows  []command.Row
	err   error
	stall bool // until ctx ends
}

// inventory is the way to the servers' commands.
func (w *world) inventory(ctx context.Context, s inventory.Server) ([]command.Row, error) {
	w.mu.Lock()
	a, ok := w.commands[s.Addresses[0]]
	w.asked = append(w.asked, strings.TrimSpace(fmt.Sprint(s.Network, " ", strings.Join(s.Addresses, " "), " ", s.User, " ", s.Password.Reveal())))
	w.asking++
	w.mostAsked = max(w.mostAsked, w.asking)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asking--
	}()
	select {
	case <-time.After(time.Duration(sum(s.Addresses[0])) * time.Millisecond): // each at its own time: the order is the same in every run
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case a.stall:
		<-ctx.Done()
		return nil, ctx.Err()
	case !ok:
		return nil, errors.New("connection refused")
	}
	return a.rows, a.err
}

// sum of the bytes of an address.
func sum(s string) (n int) {
	for _, c := range []byte(s) {
		n += int(c)
	}
	return n % 97
}

// setCommands is what a server says from now on: GET, and the words; without any, it does not answer.
func (w *world) setCommands(address string, words []string, pairs map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.commands == nil {
		w.commands = map[string]table{}
	}
	t := table{rows: []command.Row{keyed("get", "readonly")}}
	for _, name := range words {
		if t.stall = name == "stall"; !t.stall {
			t.rows = append(t.rows, keyed(name, "write"))
		}
	}
	for name, flag := range pairs {
		switch name {
		case "error":
			t.err = errors.New(flag)
		case "denied":
			t.err = &inventory.DeniedError{Text: flag}
		default:
			t.rows = append(t.rows, keyed(name, flag))
		}
	}
	w.commands[address] = t
	if len(words)+len(pairs) == 0 {
		delete(w.commands, address)
	}
}

func keyed(name, flag string) command.Row {
	return command.Row{Name: name, Arity: -2, Flags: []string{flag}, First: 1, Last: 1, Step: 1}
}

// questions are those that were asked since the last time.
func (w *world) questions() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.asked)
	all := w.asked
	w.asked = nil
	if len(all) == 0 {
		return "nobody\n"
	}
	return strings.Join(all, "\n") + "\n"
}

// TestFleetIsAskedInTurns: many groups are not asked all at once, and the same answer is kept once.
func TestFleetIsAskedInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var servers []string
		for i := range 100 {
			addr := fmt.Sprintf("10.0.%d.%d:6379", i/256, i%256)
			servers = append(servers, fmt.Sprintf("%q", addr+":1"))
			w.setCommands(addr, []string{"x.set"}, nil)
		}
		if err := w.start("pools: {fleet: {listen: 127.0.0.1:6401, servers: [" + strings.Join(servers, ", ") + "]}}"); err != nil {
			t.Fatal(err)
		}
		defer w.ctl.Close()
		pass(time.Minute)
		if n := len(strings.Fields(w.questions())) / 2; n != 100 {
			t.Errorf("%d servers were asked", n)
		}
		if w.mostAsked != maxLearning {
			t.Errorf("%d were asked at once", w.mostAsked)
		}
		offers := map[*command.Offer]bool{}
		if err := w.ctl.ask(func() {
			for _, g := range w.ctl.pools["fleet"].order {
				offers[g.learned.offer] = true
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(offers) != 1 || offers[nil] {
			t.Errorf("%d different offers", len(offers))
		}
		if serial := w.plane.current().Serial; serial != 2 {
			t.Errorf("snapshot %d: more than one for what all servers say", serial)
		}
	})
}
