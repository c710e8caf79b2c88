package failover

import (
	"testing"
	"time"

	"respgate/tests/harness"
)

// ask sends a request of a transaction and compares the reply.
func ask(t *testing.T, c *harness.Conn, text string, args ...string) {
	t.Helper()
	if got, err := c.Do(args...); err != nil || got.Text() != text {
		t.Fatalf("%v: %q, %v; want %q", args, got.Text(), err, text)
	}
}

// TestSwitchLetsTransactionsFinish: a transaction that was begun before PROXY SWITCH is executed, and the switch waits for it; one
// whose client does nothing is discarded, and does not keep the switch from going on.
func TestSwitchLetsTransactionsFinish(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, DownAfter: 5 * time.Second})
	old := f.Group("g1").Master
	var conns [2]*harness.Conn
	for i := range conns {
		c, err := harness.Dial(p.Config.Addr("cache"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ask(t, c, "OK", "MULTI")
		ask(t, c, "QUEUED", "INCR", "tx")
		conns[i] = c
	}
	busy, idle := conns[0], conns[1]
	done := make(chan string, 1)
	go func() {
		r, err := harness.Ask(p.Config.Admin, "PROXY", "SWITCH", "cache", "g1")
		if err != nil {
			done <- err.Error()
			return
		}
		done <- r.Text()
	}()
	p.WaitLog(`"cause":"group 'g1': planned switch-over"`)
	ask(t, busy, "QUEUED", "INCR", "tx")
	if r, err := busy.Do("EXEC"); err != nil || r.Kind != '*' || len(r.Elems) != 2 {
		t.Errorf("EXEC of the transaction that was begun: %q, %v", r.Text(), err)
	}
	fresh := f.WaitMaster("g1", old)
	p.WaitMaster("cache", "g1", fresh.Addr())
	if text := <-done; text[:2] != "OK" {
		t.Errorf("PROXY SWITCH: %s", text)
	}
	if r, err := idle.Do("EXEC"); err != nil || r.Kind != '-' {
		t.Errorf("EXEC of the transaction that was idle: %q, %v", r.Text(), err)
	}
	ask(t, busy, "2", "GET", "tx")
}
