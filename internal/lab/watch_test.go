package lab

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	at := func(pool, master, switches, took, active, applied string) *sight {
		return newSight(map[string][]map[string]string{
			"POOLS":     {{"name": "lab", "state": pool, "cause": map[string]string{"degraded": "group 'g1': no answer"}[pool]}},
			"MASTERS":   {{"pool": "lab", "group": "g1", "master": master, "switches": switches, "last-switch-took-ms": took}},
			"SENTINELS": {{"pool": "lab", "address": active, "active": "1"}, {"pool": "lab", "address": "127.0.0.1:7013", "active": "0"}},
			"MANAGER":   {{"pool": "lab", "applied-version": applied}},
		})
	}
	before := at("up", "127.0.0.1:7001", "0", "0", "127.0.0.1:7011", "1")
	for _, c := range []struct {
		name string
		next *sight
		want []string
	}{
		{"nothing", before, nil},
		{"state", at("degraded", "127.0.0.1:7001", "0", "0", "127.0.0.1:7011", "1"), []string{"pool lab: up -> degraded: group 'g1': no answer"}},
		{"lost master", at("degraded", "", "0", "0", "127.0.0.1:7011", "1"), []string{"pool lab: up -> degraded: group 'g1': no answer"}},
		{"switch", at("up", "127.0.0.1:7002", "1", "2400", "127.0.0.1:7011", "1"), []string{"pool lab: master of g1: 127.0.0.1:7001 -> 127.0.0.1:7002 (pid 8), took 2400 ms"}},
		{"rotation", at("up", "127.0.0.1:7001", "0", "0", "127.0.0.1:7012", "1"), []string{"pool lab: active sentinel 127.0.0.1:7011 -> 127.0.0.1:7012"}},
		{"version", at("up", "127.0.0.1:7001", "0", "0", "127.0.0.1:7011", "2"), []string{"pool lab: version 2 of the manager's topology is applied"}},
		{"pool gone", newSight(nil), []string{"pool lab: gone", "pool lab: active sentinel 127.0.0.1:7011 -> none"}},
	} {
		if d := cmp.Diff(c.want, before.changes(c.next, map[string]int{"127.0.0.1:7002": 8})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
	want := []string{
		"pool lab: new, up", "pool lab: master of g1: none -> 127.0.0.1:7001", "pool lab: active sentinel none -> 127.0.0.1:7011",
		"pool lab: version 1 of the manager's topology is applied",
	}
	if d := cmp.Diff(want, newSight(nil).changes(before, nil)); d != "" {
		t.Errorf("new pool (-want +got):\n%s", d)
	}
}

// TestWatcher looks at a console that answers, goes away and comes back.
func TestWatcher(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	state := make(chan string, 1)
	state <- "up"
	serve := func(l net.Listener) (done chan struct{}) {
		done = make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn := respconn.NewServer(c, respconn.RequestLimits{})
			defer conn.Close()
			for {
				args, err := conn.ReadRequest()
				if err != nil {
					return
				}
				var list []respconn.Value
				if args[1] == "POOLS" {
					now := <-state
					state <- now
					list = append(list, respconn.Fields("name", "lab", "state", now, "cause", ""))
				}
				if err := conn.Reply(respconn.List(list...)); err != nil || conn.Flush() != nil {
					return
				}
			}
		}()
		return done
	}
	done := serve(l)
	w := newWatcher(address)
	look := func() string { return strings.Join(w.look(t.Context(), nil), "; ") }
	check := func(what, want string) {
		t.Helper()
		if got := look(); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("the first look", "")
	check("no change", "")
	<-state
	state <- "degraded"
	check("a change", "pool lab: up -> degraded")
	l.Close()
	w.close()
	<-done
	check("gone", "the console does not answer: ")
	check("still gone", "")
	<-state
	state <- "up"
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done = serve(l)
	check("back", "the console answers again; pool lab: degraded -> up")
	w.close()
	<-done
}
