package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// TestPauseWrites: what writes waits with all behind it, on every loop; reads go on.
func TestPauseWrites(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		s := r.servers["g1"]
		apps, ids := crowd(r, 4)
		a := apps[0]
		a.do("+OK\r\n", "CLIENT", "PAUSE", "1000000", "WRITE")
		late := r.dial() // whoever comes during the pause is paused as well
		writers := append(apps[1:], late)
		for i, b := range writers {
			b.send(req("GET", "k") + req("SET", "k", fmt.Sprint(i)) + req("GET", "k") + req("PING"))
			b.want("$-1\r\n")
		}
		a.do("$-1\r\n", "GET", "k")
		a.do("+OK\r\n", "CLIENT", "PAUSE", "1", "WRITE") // the longer one counts
		got, rows := a.list("ID", fmt.Sprint(ids[1]))
		if len(got) != 1 || rows[ids[1]]["cmd"] != "set" || rows[ids[1]]["events"] != "" {
			t.Errorf("a paused client: %v", rows)
		}
		if seen := s.requests(); slices.ContainsFunc(seen, func(q string) bool { return strings.HasPrefix(q, "SET") }) {
			t.Fatalf("the server saw %q", seen)
		}
		a.do("+OK\r\n", "CLIENT", "UNPAUSE")
		for _, b := range writers {
			b.want("+OK\r\n")
			b.text()
			b.want("+PONG\r\n")
		}
		a.do("+OK\r\n", "SET", "k", "after")
		if n := r.pool().Commands[commandID("set")]; n != uint64(len(writers)+1) {
			t.Errorf("%d SETs counted, want %d", n, len(writers)+1)
		}
	})
}

// commandID is the index of a command's counter.
func commandID(name string) int { return slices.Index(Commands(), name) }

// TestPauseAll: everything waits, and goes on in order when the time is over.
func TestPauseAll(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		apps, _ := crowd(r, 4)
		begin := time.Now()
		apps[0].do("+OK\r\n", "CLIENT", "PAUSE", "150")
		for _, a := range apps {
			a.send(req("PING") + req("SET", r.key("g2", 0), "v") + req("GET", r.key("g2", 0)))
		}
		for _, a := range apps {
			a.want("+PONG\r\n+OK\r\n$1\r\nv\r\n")
			if d := time.Since(begin); d < 150*time.Millisecond {
				t.Errorf("a reply after %v", d)
			}
		}
		// Somebody else can end it.
		apps[0].do("+OK\r\n", "CLIENT", "PAUSE", "1000000", "all")
		apps[0].send(req("PING") + req("NOPE"))
		apps[1].do("+OK\r\n", "CLIENT", "UNPAUSE")
		apps[0].want("+PONG\r\n-ERR unknown command 'NOPE', with args beginning with: \r\n")
	})
}

// TestPausedClientsLeave: those who go during a pause are gone, and so is what they asked for; more come back to than a
// loop takes on in one turn.
func TestPausedClientsLeave(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		apps, _ := crowd(r, (askTurn+10)*v.loops)
		a, others := apps[0], apps[1:]
		a.do("+OK\r\n", "CLIENT", "PAUSE", "1000000", "WRITE")
		for _, b := range others {
			b.send(req("DEL", "k"))
		}
		waiting := func() (n int) {
			for _, l := range r.e.loops {
				l.call(func() { n += len(l.pools["p"].halt.waiting) })
			}
			return n
		}
		until(t, "they wait", func() bool { return waiting() == len(others) })
		gone := others[:20]
		for _, b := range gone {
			a.do("+OK\r\n", "CLIENT", "KILL", b.conn.LocalAddr().String())
		}
		a.do("+OK\r\n", "CLIENT", "UNPAUSE")
		for _, b := range others[20:] {
			b.want(":0\r\n")
		}
		if n := len(r.servers["g1"].requests()); n != len(others)-20 {
			t.Errorf("the server saw %d requests, want %d", n, len(others)-20)
		}
	})
}

// TestPausesAdd: of two pauses the longer and the stricter one counts, as in Redis; handles of those who left do not pile up.
func TestPausesAdd(t *testing.T) {
	d := newDriven(t, 1, nil)
	p := d.l.pools["p"]
	p.pause(d.l.now+1e12, false)
	p.pause(d.l.now+1e9, true)
	p.pause(d.l.now+2e9, false)
	if h := p.halt; h.until != d.l.now+1e12 || !h.all {
		t.Errorf("paused until %d, all: %v", h.until, h.all)
	}
	for range 50 {
		fd := d.client()
		d.round(fd, []byte(req("GET", "k")), 0)
		d.step()
		for c := p.clients; c != nil; c = p.clients {
			if c.paused != pauseClients {
				t.Fatalf("paused because of %b", c.paused)
			}
			c.close()
		}
	}
	if n := len(p.halt.waiting); n > 5 {
		t.Errorf("%d clients wait, and all have left", n)
	}
	p.unpause()
	if p.halt != nil {
		t.Error("still paused")
	}
}

// TestPauseHoldsWhatReplicasGet: scripts and messages as well, and what ends a transaction.
func TestPauseHoldsWhatReplicasGet(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1"}, set(func(s *topology.Settings) { s.SessionLinks = 4 }))
	a, b := r.dial(), r.dial()
	a.do("+OK\r\n", "CLIENT", "PAUSE", "1000000", "WRITE")
	for _, args := range [][]string{
		{"EVAL", "s", "1", "k"}, {"PUBLISH", "c", "m"}, {"PFCOUNT", "k"}, {"FCALL", "f", "1", "k"}, {"DEL", "k"}, {"EXEC"},
	} {
		b.send(req(args...))
		id := int64(2)
		until(t, args[0]+" waits", func() bool {
			_, rows := a.list("ID", fmt.Sprint(id))
			return rows[id]["cmd"] == strings.ToLower(args[0]) && rows[id]["events"] == ""
		})
		a.do("+OK\r\n", "CLIENT", "UNPAUSE")
		b.line()
		if args[0] == "EVAL" || args[0] == "PUBLISH" || args[0] == "PFCOUNT" || args[0] == "FCALL" {
			b.line() // the fake's echo is a bulk string
		}
		a.do("+OK\r\n", "CLIENT", "PAUSE", "1000000", "WRITE")
	}
	b.do(bulk("EVAL_RO s 1 k"), "EVAL_RO", "s", "1", "k")
}
