package failover

import (
	"encoding/json"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// told is what a subscriber of the timeline reads of an event.
type told struct {
	Event, Pool, Group, Source, Cause, Old, New, At string

	ID       uint64
	Epoch    uint64 `json:"config-epoch"`
	Decided  int    `json:"decided-ms"`
	Verified int    `json:"verified-ms"`
	Applied  int    `json:"applied-ms"`
	Released int    `json:"released-ms"`
	Held     uint64
	Votes    []struct {
		Sentinel, Master, State string
		Epoch                   uint64
	}
}

// listener is a client that is subscribed to the timeline, as redis-cli is.
type listener struct {
	t    *testing.T
	conn *harness.Conn
}

func listen(t *testing.T, p *harness.Proxy) *listener {
	t.Helper()
	c, err := harness.Dial(p.Config.Admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.Timeout = harness.Patience
	if r, err := c.Do("SUBSCRIBE", "respgate:events"); err != nil || len(r.Elems) != 3 || r.Elems[0].Text() != "subscribe" {
		t.Fatalf("SUBSCRIBE: %v, %v", r, err)
	}
	return &listener{t, c}
}

// until waits for an event of a group, and gives those before it as well.
func (l *listener) until(group, event string) (all []told) {
	l.t.Helper()
	for {
		r, err := l.conn.Receive()
		if err != nil {
			l.t.Fatalf("no event '%s' of %s, only %+v: %v", event, group, all, err)
		}
		if len(r.Elems) != 3 || r.Elems[0].Text() != "message" || r.Elems[1].Text() != "respgate:events" {
			l.t.Fatalf("no message: %v", r)
		}
		var e told
		if err := json.Unmarshal([]byte(r.Elems[2].Text()), &e); err != nil {
			l.t.Fatalf("%v: %v", r, err)
		}
		if e.Group != group {
			continue // a busy machine makes others wait as well
		}
		if all = append(all, e); e.Event == event {
			return all
		}
	}
}

// TestTimeline: a failover and a planned switch-over are told to a subscriber as they begin and when they are over, and the
// console has both afterwards.
func TestTimeline(t *testing.T) {
	t.Parallel()
	f, p := stack(t, quicklyBeside(), untilServed)
	l := p.Load("cache", f)
	l.Progress(100)
	ears := listen(t, p)
	old, fresh := takeover(t, f, p, "g1", func(old *harness.Redis) { old.Kill() })
	l.Progress(100)

	all := ears.until("g1", "switched")
	e := all[len(all)-1]
	if first := all[len(all)-2]; first.Event != "holding" || first.ID != e.ID || first.Old != old.Addr() || first.Cause != e.Cause || first.Cause == "" {
		t.Errorf("before it: %+v", first)
	}
	if e.Pool != "cache" || e.Source != "sentinel" || e.Old != old.Addr() || e.New != fresh.Addr() || e.Epoch == 0 {
		t.Errorf("the failover: %+v", e)
	}
	if e.Decided < 0 || e.Decided > e.Verified || e.Verified > e.Applied || e.Applied > e.Released {
		t.Errorf("its steps are out of order: %+v", e)
	}
	if e.Held == 0 {
		t.Errorf("no request was held: %+v", e)
	}
	voted := 0
	for _, v := range e.Votes {
		if v.State == "voted" && v.Master == fresh.Addr() && v.Epoch == e.Epoch {
			voted++
		}
	}
	if len(e.Votes) != 3 || voted == 0 { // with the old master gone, the first that names one of its replicas is enough
		t.Errorf("%d of %d sentinels have voted for it: %+v", voted, len(e.Votes), e.Votes)
	}
	t.Logf("kill -9: %+v", e)

	reply := p.Admin("PROXY", "SWITCH", "cache", "g2").Text()
	want := "switched"
	if !strings.HasPrefix(reply, "OK ") {
		want = "given-up" // a busy machine is no good place for a switch; what matters here is that it is told
	}
	all = ears.until("g2", want)
	e = all[len(all)-1]
	if e.Source != "planned" || want == "switched" && (e.Old == e.New || !strings.HasPrefix(reply, "OK "+e.Old+" "+e.New+" ")) {
		t.Errorf("%s: %+v", reply, e)
	}
	t.Logf("%s: %+v", reply, e)
	l.Finish(f.Masters())

	for group, id := range map[string]uint64{"g2": e.ID} {
		rows := p.Rows("PROXY", "EVENTS", "cache", group, "COUNT", "1")
		if len(rows) != 1 || rows[0]["event"] != want || rows[0]["source"] != "planned" || id == 0 {
			t.Errorf("PROXY EVENTS cache %s: %v", group, rows)
		}
	}
	if text := p.Admin("PROXY", "INFO", "events").Text(); !strings.Contains(text, old.Addr()) || !strings.Contains(text, fresh.Addr()) {
		t.Errorf("PROXY INFO events does not tell of the failover:\n%s", text)
	}
	if n, err := p.Metric(`respgate_master_switches_total{cause="sentinel",group="g1",pool="cache"}`); err != nil || n != 1 {
		t.Errorf("%v switches are counted, %v", n, err)
	}
}
