package failover

import (
	"errors"
	"testing"
	"time"

	"respgate/tests/harness"
)

// cautious is a fleet whose masters take writes only as long as a replica acknowledges them.
func cautious(replicas int) harness.FleetOptions {
	return harness.FleetOptions{
		Groups: []string{"g1"}, Replicas: replicas,
		RedisConfig: []string{"min-replicas-to-write 1", "min-replicas-max-lag 10"},
	}
}

// TestNoReplicasYet fails a group over by hand whose new master takes no writes before the other replica follows it: they wait.
func TestNoReplicasYet(t *testing.T) {
	t.Parallel()
	for _, follow := range []string{"announced", "early"} {
		t.Run(follow, func(t *testing.T) {
			t.Parallel()
			f, p := stack(t, cautious(2), untilServed, "follow: "+follow)
			l := p.Load("cache", f)
			l.Progress(200)
			_, fresh := byHand(t, f, p, "g1")
			l.Progress(200)
			untouched(t, l.Finish(f.Masters()))
			want(t, dial(t, fresh.Addr()), "[min-replicas-to-write 1]", "CONFIG", "GET", "min-replicas-to-write")
		})
	}
}

// TestNoReplicasLeft kills the master of a group with one replica, which takes no writes then: they wait for a replica as long as
// the hold lasts, and get the server's own words. Reads do not wait, nor does a write afterwards.
func TestNoReplicasLeft(t *testing.T) {
	t.Parallel()
	const hold = 10 * time.Second
	o := cautious(1)
	o.DownAfter = 1500 * time.Millisecond
	f, p := stack(t, o, "hold: { timeout: 10s }")
	conn, other := dial(t, p.Config.Addr("cache")), dial(t, p.Config.Addr("cache"))
	want(t, conn, "OK", "SET", "k", "1")
	harness.Eventually(t, harness.Patience, "the replica has it", func() error {
		if got := f.Group("g1").Replicas[0].Must("GET", "k").Text(); got != "1" {
			return errors.New(got)
		}
		return nil
	})
	takeover(t, f, p, "g1", (*harness.Redis).Kill)
	waitReply(t, other, "1", "GET", "k")
	if err := conn.Write(harness.Encode("SET", "k", "2") + harness.Encode("GET", "k")); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, harness.Patience, "the write waits", func() error {
		if p.Master("cache", "g1")["held"] == "0" {
			return errors.New("not yet")
		}
		return nil
	})
	began := time.Now()
	for range 200 {
		want(t, other, "1", "GET", "k")
	}
	if took := time.Since(began); took > hold/2 {
		t.Errorf("200 reads took %v", took)
	}
	if p.Master("cache", "g1")["held"] == "0" {
		t.Error("the write does not wait any more")
	}
	refused, err := conn.Receive()
	if err != nil || refused.Text() != "-NOREPLICAS Not enough good replicas to write." {
		t.Errorf("the write: %q, %v", refused.Text(), err)
	}
	read, err := conn.Receive()
	if err != nil || read.Text() != "1" {
		t.Errorf("the read behind it: %q, %v", read.Text(), err)
	}
	waitError(t, conn, "NOREPLICAS ", "SET", "k", "2")
	began = time.Now()
	wantError(t, conn, []string{"NOREPLICAS "}, "SET", "k", "2")
	if took := time.Since(began); took > hold/2 {
		t.Errorf("a write to a master without replicas took %v", took)
	}
}
