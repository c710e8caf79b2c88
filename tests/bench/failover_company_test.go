package main

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestCompanionJudges: a reply that cannot be is noticed, and so is a failure, by the name of its command.
func TestCompanionJudges(t *testing.T) {
	replies := make(chan string, 8)
	addr := harness.Serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if _, err := harness.ReadRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, <-replies); err != nil {
				return
			}
		}
	})
	for _, tt := range []struct {
		name          string
		step          func(*companion) error
		replies       []string
		stale, broken int
		refused       int
	}{
		{"EVAL", (*companion).count, []string{":1\r\n", ":2\r\n"}, 0, 0, 0},
		{"EVAL", (*companion).count, []string{":1\r\n", ":1\r\n"}, 1, 0, 0},
		{"EVAL", (*companion).count, []string{":1\r\n", ":3\r\n"}, 0, 1, 0},
		{"EVAL", (*companion).count, []string{":1\r\n", "-READONLY You can't\r\n", ":3\r\n"}, 0, 0, 1},
		{"PUBLISH", (*companion).publish, []string{":0\r\n", ":1\r\n"}, 0, 1, 0},
		{"HSCAN", (*companion).scan, []string{"*2\r\n$1\r\n7\r\n*2\r\n$2\r\nf3\r\n$2\r\nv3\r\n", "*2\r\n$1\r\n0\r\n*0\r\n"}, 0, 0, 0},
		{"HSCAN", (*companion).scan, []string{"*2\r\n$1\r\n7\r\n*2\r\n$2\r\nf3\r\n$2\r\nv4\r\n", "+OK\r\n"}, 0, 2, 0},
	} {
		c := &companion{addr: addr, group: "g1", name: tt.name, book: &book{}, step: tt.step, cursor: "0", key: "k"}
		for _, r := range tt.replies {
			replies <- r
			began := time.Now()
			err := c.step(c)
			c.book.noteAs(c.name, began, time.Now(), err)
		}
		c.drop()
		d := damage{groups: []groupDamage{{failed: failures(c.book.sorted(), origin)}}}
		if c.stale != tt.stale || c.broken != tt.broken || d.refused() != tt.refused || d.errors() != tt.refused {
			t.Errorf("%s %q: stale %d, broken %d, %v", tt.name, tt.replies, c.stale, c.broken, d.kinds())
		}
	}
}
