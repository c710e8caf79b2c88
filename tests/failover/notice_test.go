package failover

import (
	"fmt"
	"slices"
	"testing"

	"respgate/tests/harness"
)

// notified is a client that has asked to be told when requests of a group begin and end to wait.
func notified(t *testing.T, p *harness.Proxy) *harness.Conn {
	t.Helper()
	c := dial(t, p.Config.Addr("cache"))
	if r, err := c.Do("HELLO", "3"); err != nil || r.Kind != '%' {
		t.Fatalf("HELLO 3: %s, %v", r.Text(), err)
	}
	want(t, c, "OK", "CLIENT", "MAINT_NOTIFICATIONS", "ON")
	return c
}

// noticed waits until such a client was told that a failover of the group is over, and checks that it was told of its begin, with
// the time it may take, before. On a busy machine requests may have waited before that, or after it.
func noticed(t *testing.T, c *harness.Conn, group string) {
	t.Helper()
	var names []string
	last := int64(0)
	harness.Eventually(t, harness.Patience, "a client is told of the failover", func() error {
		r, err := c.Do("PING")
		for ; err == nil && r.Kind == '>'; r, err = c.Receive() {
			n := len(r.Elems)
			if n < 3 || r.Elems[1].Int <= last {
				return fmt.Errorf("no notice, or none with a new number: %s", r.Text())
			}
			last = r.Elems[1].Int
			if name := r.Elems[0].Str; r.Elems[n-1].Text() == "["+group+"]" {
				if name == "FAILING_OVER" && (n != 4 || r.Elems[2].Int <= 0) {
					return fmt.Errorf("it does not say how long it may take: %s", r.Text())
				}
				names = append(names, name)
			}
		}
		if err != nil || r.Text() != "PONG" {
			return fmt.Errorf("PING: %s, %v", r.Text(), err)
		}
		if len(names) < 2 || names[len(names)-1] != "FAILED_OVER" {
			return fmt.Errorf("told of %v", names)
		}
		return nil
	})
	for pair := range slices.Chunk(names, 2) {
		if !slices.Equal(pair, []string{"FAILING_OVER", "FAILED_OVER"}) {
			t.Errorf("told of %v, want a begin and an end in turn", names)
			return
		}
	}
}
