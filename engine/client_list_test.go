package engine

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"respgate/engine/topology"
)

// id is the client's own.
func (a *app) id() int64 {
	a.t.Helper()
	a.send(req("CLIENT", "ID"))
	n, err := strconv.ParseInt(strings.TrimSpace(a.line()[1:]), 10, 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// crowd connects n clients, the next loop each time, and knows their ids.
func crowd(r *rig, n int) (apps []*app, ids []int64) {
	r.t.Helper()
	for range n {
		a := r.dial()
		apps, ids = append(apps, a), append(ids, a.id())
	}
	for i, s := range r.e.Stats().Loops {
		if n >= len(r.e.loops) && s.Clients == 0 {
			r.t.Fatalf("loop %d has no client", i)
		}
	}
	return apps, ids
}

// list is CLIENT LIST by id: field by field, and in the order of the lines.
func (a *app) list(args ...string) (ids []int64, rows map[int64]map[string]string) {
	a.t.Helper()
	a.send(req(append([]string{"CLIENT", "LIST"}, args...)...))
	rows = map[int64]map[string]string{}
	for line := range strings.Lines(a.text()) {
		row := map[string]string{}
		for f := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(f, "=")
			row[name] = value
		}
		id, err := strconv.ParseInt(row["id"], 10, 64)
		if err != nil {
			a.t.Fatalf("line %q: %v", line, err)
		}
		ids, rows[id] = append(ids, id), row
	}
	return ids, rows
}

var clientLine = regexp.MustCompile(`^id=\d+ addr=[\d.]+:\d+ laddr=[\d.]+:\d+ fd=\d+ name=\S* age=\d+ idle=\d+ flags=\w+ db=\d+ sub=\d+ psub=\d+ ssub=\d+ ` +
	`multi=-?\d+ watch=\d+ qbuf=\d+ qbuf-free=\d+ argv-mem=\d+ multi-mem=\d+ rbs=\d+ rbp=\d+ obl=\d+ oll=\d+ omem=\d+ tot-mem=\d+ events=\w* ` +
	`cmd=\S+ user=default redir=-?\d+ resp=[23] lib-name=\S* lib-ver=\S*\n$`)

func TestClientList(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"})
		apps, ids := crowd(r, 4)
		a, b, c := apps[0], apps[1], apps[2]
		a.do("+OK\r\n", "CLIENT", "SETNAME", "first")
		b.send(req("HELLO", "3") + req("CLIENT", "SETINFO", "lib-ver", "1.2"))
		b.want(hello("7.0.15", ids[1], true) + "+OK\r\n")
		c.do("+OK\r\n", "SET", r.key("g2", 0), "x")
		apps[3].send(req("NOPE"))
		apps[3].wantError("ERR unknown command 'NOPE'")

		a.send(req("CLIENT", "LIST"))
		for line := range strings.Lines(a.text()) {
			if !clientLine.MatchString(line) {
				t.Errorf("line %q", line)
			}
		}
		got, rows := a.list()
		if !slices.Equal(got, ids) {
			t.Fatalf("ids %v, want %v", got, ids)
		}
		for i, want := range []map[string]string{
			{"name": "first", "cmd": "client|list", "resp": "2", "addr": a.conn.LocalAddr().String(), "laddr": a.conn.RemoteAddr().String(), "flags": "N", "multi": "-1", "redir": "-1", "events": "r"},
			{"name": "", "cmd": "client|setinfo", "resp": "3", "lib-ver": "1.2", "addr": b.conn.LocalAddr().String()},
			{"cmd": "set", "db": "0", "watch": "0", "sub": "0"},
			{"cmd": "NULL"},
		} {
			for name, value := range want {
				if rows[ids[i]][name] != value {
					t.Errorf("client %d: %s=%s, want %s", i, name, rows[ids[i]][name], value)
				}
			}
		}
		if got, _ := b.list("ID", fmt.Sprint(ids[3]), "999", fmt.Sprint(ids[0])); !slices.Equal(got, []int64{ids[3], ids[0]}) {
			t.Errorf("two ids: %v", got)
		}
		if got, _ := b.list("TYPE", "Normal"); !slices.Equal(got, ids) {
			t.Errorf("normal clients: %v", got)
		}
	})
}

// TestClientListShowsSessions: what sessions know is shown as Redis shows it, from any loop.
func TestClientListShowsSessions(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.SessionLinks = 10 }))
		r.servers["g1"].on(func(_ *fakeConn, args []string) (string, bool) {
			switch strings.ToUpper(args[0]) {
			case "MULTI", "WATCH":
				return "+OK\r\n", true
			case "SET":
				return "+QUEUED\r\n", true
			case "BLPOP":
				return "", true
			case "SUBSCRIBE":
				return ">3\r\n" + bulk("subscribe") + bulk(args[1]) + ":1\r\n", true
			}
			return "", false
		})
		apps, ids := crowd(r, 5)
		apps[1].send(req("WATCH", "w") + req("MULTI") + req("SET", "k", "1"))
		apps[1].want("+OK\r\n+OK\r\n+QUEUED\r\n")
		apps[2].send(req("BLPOP", "k", "0"))
		apps[3].do("*3\r\n"+bulk("subscribe")+bulk("c")+":1\r\n", "SUBSCRIBE", "c")
		apps[4].do("+OK\r\n", "SELECT", "3")
		a := apps[0]
		want := []map[string]string{
			{"flags": "N", "db": "0"},
			{"flags": "x", "multi": "1", "watch": "1", "cmd": "set"},
			{"flags": "b", "cmd": "blpop"},
			{"flags": "P", "sub": "1", "psub": "0", "ssub": "0"},
			{"db": "3"},
		}
		last := ""
		until(t, "all of it is shown", func() bool {
			_, rows := a.list()
			for i := range want {
				for name, value := range want[i] {
					if got := rows[ids[i]][name]; got != value {
						last = fmt.Sprintf("client %d: %s=%s, want %s", i, name, got, value)
						return false
					}
				}
			}
			return true
		})
		if got, _ := a.list("TYPE", "pubsub"); !slices.Equal(got, ids[3:4]) {
			t.Errorf("pubsub: %v, want %v (%s)", got, ids[3:4], last)
		}
		a.do(":1\r\n", "CLIENT", "KILL", "TYPE", "pubsub")
		apps[3].wantClosed()
	})
}

// TestClientListInTurns: more clients than a loop looks at in one turn, some of which leave meanwhile.
func TestClientListInTurns(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		apps, ids := crowd(r, (askTurn+10)*v.loops)
		if got, _ := apps[0].list(); !slices.Equal(got, ids) {
			t.Errorf("%d clients, %d listed", len(ids), len(got))
		}
		// The lists of many at the same time, while others leave.
		for _, a := range apps[:4] {
			a.send(strings.Repeat(req("CLIENT", "LIST"), 5) + req("PING"))
		}
		for _, a := range apps[len(apps)/2:] {
			a.conn.Close()
		}
		for _, a := range apps[:4] {
			for range 5 {
				if n := strings.Count(a.text(), "\n"); n < len(apps)/2 || n > len(apps) {
					t.Errorf("%d clients listed of %d, half of which leave", n, len(apps))
				}
			}
			a.want("+PONG\r\n")
		}
		until(t, "they are gone", func() bool {
			got, _ := apps[0].list()
			return slices.Equal(got, ids[:len(apps)/2])
		})
	})
}

// TestAskerLeaves: the answers of other loops come when nobody waits for them any more.
func TestAskerLeaves(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		if v.loops == 1 {
			return // one loop answers at once
		}
		r := newRig(t, v, []string{"g1"})
		apps, ids := crowd(r, 4)
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		t.Cleanup(open)
		home, other := r.loopOf(ids[0]), r.loopOf(ids[1])
		other.post(func() { <-gate })
		apps[0].send(req("CLIENT", "LIST") + req("PING"))
		until(t, "the question is under way", func() (asks bool) {
			home.call(func() {
				for c := home.pools["p"].clients; c != nil; c = c.next {
					asks = asks || c.paused&pauseAsk != 0
				}
			})
			return asks
		})
		if err := apps[0].conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		apps[0].conn.Close()
		until(t, "the asker is gone", func() bool { return r.e.clients.Load() == 3 })
		apps[2].send(req("CLIENT", "LIST") + req("CLIENT", "KILL", "ID", "999") + req("PING")) // of the same loop
		open()
		if n := strings.Count(apps[2].text(), "\n"); n != 3 {
			t.Errorf("%d clients listed", n)
		}
		apps[2].want(":0\r\n+PONG\r\n")
		if got, _ := apps[1].list(); !slices.Equal(got, ids[1:]) {
			t.Errorf("listed %v, want %v", got, ids[1:])
		}
	})
}

// loopOf is the loop that has a client.
func (r *rig) loopOf(id int64) (found *loop) {
	r.t.Helper()
	for _, l := range r.e.loops {
		l.call(func() {
			for c := l.pools["p"].clients; c != nil; c = c.next {
				if c.id == id {
					found = l
				}
			}
		})
	}
	if found == nil {
		r.t.Fatalf("no loop has client %d", id)
	}
	return found
}

func TestClientKill(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"})
		apps, ids := crowd(r, 8)
		a := apps[0]
		a.send(req("CLIENT", "KILL", "ID", fmt.Sprint(ids[1])) + req("CLIENT", "LIST"))
		a.want(":1\r\n")
		if text := a.text(); strings.Contains(text, fmt.Sprintf("id=%d ", ids[1])) {
			t.Errorf("what follows in the pipeline still sees it: %q", text)
		}
		apps[1].wantClosed()
		a.do("+OK\r\n", "CLIENT", "KILL", apps[2].conn.LocalAddr().String())
		apps[2].wantClosed()
		a.do("-ERR No such client\r\n", "CLIENT", "KILL", apps[2].conn.LocalAddr().String())
		a.do(":0\r\n", "CLIENT", "KILL", "ID", fmt.Sprint(ids[3]), "ADDR", apps[4].conn.LocalAddr().String()) // both, and nobody is
		a.do(":1\r\n", "CLIENT", "KILL", "ID", fmt.Sprint(ids[3]), "ADDR", apps[3].conn.LocalAddr().String(), "type", "normal")
		apps[3].wantClosed()
		// All of them: with a request that still waits, too.
		r.servers["g1"].hold()
		apps[4].send(req("GET", "k"))
		until(t, "the request is there", func() bool { return len(r.servers["g1"].requests()) == 1 })
		a.do(":4\r\n", "CLIENT", "KILL", "LADDR", a.conn.RemoteAddr().String())
		for _, b := range apps[4:] {
			b.wantClosed()
		}
		a.do("+PONG\r\n", "PING")
		b := r.dial()
		b.send(req("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no") + req("PING"))
		b.want(":2\r\n") // nothing behind its own end is handled
		b.wantClosed()
		a.wantClosed()
		c := r.dial()
		c.do("+OK\r\n", "CLIENT", "KILL", c.conn.LocalAddr().String())
		c.wantClosed()
		until(t, "all are gone", func() bool { return r.e.clients.Load() == 0 })
	})
}

// TestClientKillByAge: age is counted in whole seconds.
func TestClientKillByAge(t *testing.T) {
	t.Parallel()
	c := &client{loop: &loop{now: 100 * int64(time.Second)}, id: 1, since: 90}
	for age, want := range map[int64]bool{0: true, 1: true, 10: true, 11: false} {
		if f := (killFilter{maxAge: age}); f.matches(c) != want {
			t.Errorf("MAXAGE %d: %v", age, !want)
		}
	}
}

// TestClientsOfOnePool: a pool knows its own.
func TestClientsOfOnePool(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, func(s *topology.Snapshot) {})
		r.apply(func(s *topology.Snapshot) {
			q := r.newPool("qq", []string{"g1"})
			s.Pools = append(s.Pools, q)
		})
		a, b := r.dial(), r.dialPool("qq")
		a.id()
		stranger := b.id()
		if got, _ := a.list(); len(got) != 1 {
			t.Errorf("listed: %v", got)
		}
		a.do(":0\r\n", "CLIENT", "KILL", "ID", fmt.Sprint(stranger))
		a.do("+OK\r\n", "CLIENT", "PAUSE", "1000000", "WRITE")
		b.do("+OK\r\n", "SET", "k", "v")
		a.do("+OK\r\n", "CLIENT", "UNPAUSE")
	})
}
