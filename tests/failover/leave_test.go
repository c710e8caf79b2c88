package failover

import (
	"syscall"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestLeaveTime: clients that are told to move because the proxy stops are served for as long as they may take (3 s), also
// where a master is not trusted that long without its sentinels.
func TestLeaveTime(t *testing.T) {
	t.Parallel()
	_, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}}, "authority_lease: 2s", "hold: {timeout: 20s}")
	c := dial(t, p.Config.Addr("cache"))
	waitReply(t, c, "OK", "SET", "k", "1")
	if r, err := c.Do("HELLO", "3"); err != nil || r.Kind != '%' {
		t.Fatalf("HELLO 3: %s, %v", r.Text(), err)
	}
	waitReply(t, c, "OK", "CLIENT", "MAINT_NOTIFICATIONS", "ON")
	p.Signal(syscall.SIGTERM)
	stopped := time.Now()
	told, served := false, time.Duration(0)
	for {
		r, err := c.Do("SET", "k", "1")
		for err == nil && r.Kind == '>' {
			told = told || r.Elems[0].Str == "MOVING"
			r, err = c.Receive()
		}
		if err != nil {
			break // closed, as it was told
		}
		if r.Text() != "OK" {
			t.Fatalf("%s after %v, want OK", r.Text(), time.Since(stopped))
		}
		served = time.Since(stopped)
	}
	if !told || served < 2500*time.Millisecond {
		t.Errorf("served for %v, told to move: %v", served, told)
	}
	if code, err := p.Wait(2 * harness.Patience); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}
