package failover

import (
	"errors"
	"strings"
	"sync/atomic"
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
	if !told || served < 2200*time.Millisecond { // longer than the lease
		t.Errorf("served for %v, told to move: %v", served, told)
	}
	if code, err := p.Wait(2 * harness.Patience); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// TestSecondSignalDuringSwitch: a proxy that finishes a switch before it stops, which a sentinel has agreed to and tells
// nothing of any more, stops at once when it is told so again.
func TestSecondSignalDuringSwitch(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	master := s.servers["g1"]
	replica := harness.StartRedis(t, harness.RedisOptions{ReplicaOf: master})
	harness.Eventually(t, harness.Patience, "the replica is connected", func() error {
		r, err := replica.Ask("ROLE")
		if err == nil && (len(r.Elems) < 4 || r.Elems[3].Str != "connected") {
			err = errors.New(r.Text())
		}
		return err
	})
	var agreed atomic.Bool
	for _, fake := range s.fakes {
		fake.Name("g1", "127.0.0.1", master.Port, 1, replica.Addr())
		fake.Answer(func(args []string) (string, bool) {
			if strings.HasPrefix(strings.ToUpper(strings.Join(args, " ")), "SENTINEL FAILOVER ") {
				agreed.Store(true)
				return "+OK\r\n", true
			}
			return "", agreed.Load() // no word from then on
		})
	}
	during(t, ordered(s.proxy), "a sentinel has agreed", func() error {
		if !agreed.Load() {
			return errors.New("none has")
		}
		return nil
	})
	s.proxy.Signal(syscall.SIGTERM)
	harness.Eventually(t, harness.Patience, "the proxy is shutting down", func() error {
		if !strings.Contains(s.proxy.Log(), "shutting down: ") {
			return errors.New("not yet")
		}
		return nil
	})
	s.proxy.Signal(syscall.SIGINT)
	if code, err := s.proxy.Wait(harness.Patience); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	if log := s.proxy.Log(); !strings.Contains(log, "a second signal") || strings.Contains(log, "planned switch-over failed") {
		t.Errorf("it waited for the switch:\n%s", log)
	}
}
