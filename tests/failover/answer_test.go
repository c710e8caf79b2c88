package failover

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// TestFault17MasterPaused pauses a master for three seconds: requests wait there, and no connection is given up.
func TestFault17MasterPaused(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1", "g2"}, "timeout: 20s")
	l := s.load(pipelined)
	l.Progress(50)
	m := s.servers["g1"]
	conn, key := dial(t, s.addr()), keyIn(t, s.proxy, "g1")
	want(t, conn, "OK", "SET", key, "1")
	before := stat(t, m, "stats", "total_connections_received")
	m.Must("CLIENT", "PAUSE", "3000", "ALL")
	want(t, conn, "1", "GET", key) // comes when the pause is over
	l.Progress(50)
	// One for each question of the test, and a control link that is made anew while ROLE is not answered.
	if now := stat(t, m, "stats", "total_connections_received"); now > before+20 {
		t.Errorf("%d connections to a master that was only paused", now-before)
	}
	untouched(t, l.Finish(s.servers))
	if row := s.row("g1"); row["switches"] != "0" || row["master"] != m.Addr() {
		t.Errorf("console: %v", row)
	}
}

// TestFault18BusyScript runs a script that keeps the master busy. -BUSY is the answer of a living master: clients get it,
// nobody is demoted.
func TestFault18BusyScript(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1", "g2"}, "timeout: 20s")
	m := s.servers["g1"]
	m.Must("CONFIG", "SET", "lua-time-limit", "100")
	l := s.load()
	l.Progress(50)
	script := dial(t, m.Addr())
	if err := script.Write(harness.Encode("EVAL", "while true do end", "0")); err != nil {
		t.Fatal(err)
	}
	waitFailed(t, l, "g1", "BUSY", 50)
	if row := s.row("g1"); row["master"] != m.Addr() {
		t.Errorf("console while the script runs: %v", row)
	}
	// The proxy cannot be told to kill it for all groups without a word; the master can.
	m.Must("SCRIPT", "KILL")
	l.Progress(50)
	reports := l.Finish(s.servers)
	untouched(t, reports, "g2")
	if n := failed(l, "g1", "BUSY"); n != reports[0].Failed() {
		t.Errorf("%d of %d errors are the master's own: %v", n, reports[0].Failed(), reports[0])
	}
	sound(t, reports[0], reports[0].Failed())
	if row := s.row("g1"); row["switches"] != "0" || row["state"] != "up" {
		t.Errorf("console: %v", row)
	}
}

// TestFault19MasterRefusesWrites lets a master refuse writes for reasons of its own: clients get its words, reads go on,
// and the console counts.
func TestFault19MasterRefusesWrites(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"}, "timeout: 20s")
	m := s.servers["g1"]
	conn := dial(t, s.addr())
	want(t, conn, "OK", "SET", "a", "1")
	set := func(name, value string) { m.Must("CONFIG", "SET", name, value) }
	breakSnapshot := func() {
		// Where the snapshot should go is a directory: it can be written, and not be renamed.
		dir := m.Must("CONFIG", "GET", "dir").Elems[1].Str
		if err := os.Mkdir(dir+"/dump.rdb", 0o700); err != nil {
			t.Fatal(err)
		}
		set("save", "3600 1000000")
		m.Must("BGSAVE")
		harness.Eventually(t, harness.Patience, "the snapshot fails", func() error {
			if !strings.Contains(m.Must("INFO", "persistence").Str, "rdb_last_bgsave_status:err") {
				return errors.New("not yet")
			}
			return nil
		})
	}
	counted := func() float64 {
		n, err := s.proxy.Metric(`respgate_command_errors_total{command="set",pool="cache"}`)
		if err != nil {
			return 0 // none so far
		}
		return n
	}
	for _, c := range []struct {
		code        string
		begin, over func()
	}{
		{"NOREPLICAS ", func() { set("min-replicas-to-write", "3") }, func() { set("min-replicas-to-write", "0") }},
		{"OOM ", func() { set("maxmemory", "1") }, func() { set("maxmemory", "0") }},
		{"MISCONF ", breakSnapshot, func() { set("save", "") }},
	} {
		c.begin()
		before := counted()
		for range 5 {
			wantError(t, conn, []string{c.code}, "SET", "a", "2")
			want(t, conn, "1", "GET", "a")
		}
		harness.Eventually(t, harness.Patience, c.code+"is counted", func() error {
			if now := counted(); now < before+5 {
				return fmt.Errorf("%v, before %v", now, before)
			}
			return nil
		})
		c.over()
		waitReply(t, conn, "OK", "SET", "a", "1")
	}
	if row := s.row("g1"); row["state"] != "up" || row["switches"] != "0" || row["generation"] != "1" {
		t.Errorf("console: %v", row)
	}
}

// TestFault20MasterFull fills the master's table of clients: what is connected is served on, and the proxy does not run
// against the door.
func TestFault20MasterFull(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"}, "preconnect: true", untilServed)
	m := s.servers["g1"]
	l := s.load()
	l.Progress(50)
	limit := stat(t, m, "clients", "connected_clients") + 8
	inside := dial(t, m.Addr())
	want(t, inside, "OK", "CONFIG", "SET", "maxclients", fmt.Sprint(limit))
	harness.Eventually(t, harness.Patience, "the master is full", func() error {
		c, err := harness.Dial(m.Addr())
		if err != nil {
			return err
		}
		t.Cleanup(c.Close)
		r, err := c.Do("PING")
		if err == nil && r.Kind != '-' {
			err = errors.New("it takes one more")
		}
		return err
	})
	rejected := func() int {
		r, err := inside.Do("INFO", "stats")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(r.Str) {
			n := 0
			if _, err := fmt.Sscanf(line, "rejected_connections:%d", &n); err == nil {
				return n
			}
		}
		t.Fatal("INFO stats has no rejected_connections")
		return 0
	}
	before, began := rejected(), time.Now()
	waiting := dial(t, s.addr())
	if err := waiting.Write(harness.Encode("MULTI") + harness.Encode("SET", "tx", "1") + harness.Encode("EXEC")); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, harness.Patience, "a connection of the proxy is rejected", func() error {
		if rejected() == before {
			return errors.New("not yet")
		}
		return nil
	})
	l.Progress(500) // on the links that are there
	harness.Eventually(t, harness.Patience, "it is tried again, but not always at once", func() error {
		n, took := rejected()-before, time.Since(began)
		if limit := 50*took.Seconds() + 20; float64(n) > limit {
			t.Fatalf("%d connections in the %v that the master was full", n, took)
		}
		if n < 10 || took < time.Second {
			return fmt.Errorf("%d times in %v", n, took)
		}
		return nil
	})
	want(t, inside, "OK", "CONFIG", "SET", "maxclients", "10000")
	waiting.Timeout = 2 * harness.Patience
	for _, text := range []string{"OK", "QUEUED", "[OK]"} {
		if r, err := waiting.Receive(); err != nil || r.Text() != text {
			t.Errorf("a transaction that waited for a connection: %s, %v; want %s", r.Text(), err, text)
		}
	}
	waitReply(t, dial(t, s.addr()), "PONG", "PING")
	l.Progress(50)
	untouched(t, l.Finish(s.servers))
}
