package sentinelclient

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"respgate/internal/respconn"
)

// TestSwitchableAsksForEntry: a master that has never been a replica may lack what
// it takes to log in at one that becomes its master. The server that tells what it
// would send there is not made a replica in vain.
func TestSwitchableAsksForEntry(t *testing.T) {
	t.Parallel()
	noAuth := respconn.Errorf("NOAUTH Authentication required.")
	for _, c := range []struct {
		name, password, user string
		asked                string // of the replica
		answer               respconn.Value
		want                 string // in the error, empty if there is none
	}{
		{"no password where one is wanted", "", "u", "PING", noAuth, "NOAUTH Authentication required."},
		{"no password, and none is wanted", "", "", "PING", respconn.Simple("PONG"), ""},
		{"no password, and it is busy", "", "", "PING", respconn.Errorf("LOADING data"), ""},
		{"another password", "pw", "", "AUTH pw", respconn.Errorf("WRONGPASS invalid username-password pair"), "WRONGPASS"},
		{"a password where none is set", "pw", "", "AUTH pw", respconn.Errorf("ERR AUTH <password> called without any password configured"), "without any password"},
		{"another user", "pw", "u", "AUTH u pw", respconn.Errorf("WRONGPASS invalid username-password pair"), "WRONGPASS"},
		{"the right one", "pw", "u", "AUTH u pw", respconn.Simple("OK"), ""},
	} {
		for _, tells := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, told %t", c.name, tells), func(t *testing.T) {
				t.Parallel()
				th := openTheatre(t)
				th.always("replica PING", noAuth)
				th.always("replica "+c.asked, c.answer)
				if tells {
					th.always("master CONFIG GET masterauth", respconn.Fields("masterauth", c.password))
					th.always("master CONFIG GET masteruser", respconn.Fields("masteruser", c.user))
				} else {
					th.always("master CONFIG GET", respconn.Errorf("NOPERM this user has no permissions to run the 'config|get' command"))
				}
				s, err := th.monitor.Switchover(t.Context(), "g1")
				if err == nil {
					s.Close()
				}
				begins := fmt.Sprintf("ERR master %v could not log in at replica %v", th.master.addr, th.replica.addr)
				switch {
				case c.want == "" || !tells:
					if err != nil {
						t.Error(err)
					}
				case err == nil || !strings.HasPrefix(err.Error(), begins) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "CONFIG SET masterauth"):
					t.Errorf("%v, want %s... %s", err, begins, c.want)
				}
			})
		}
	}
}

// TestFollow: what the old master says of its link to the new one, again and again.
func TestFollow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		links []string // one after the other, from the first again; "-": no answer, "master": it is one
		early bool     // it is known at once
		log   string   // at the end
	}{
		{"fails", []string{"handshake", "sync"}, true, "level=WARN msg=\"old master does not follow the new one\" group=g1 master="},
		{"is refused", []string{"connect"}, false, "does not follow"},
		{"dials in vain", []string{"connecting"}, false, "does not follow"},
		{"does not answer", []string{"-"}, false, "does not follow"},
		{"copies", append([]string{"connecting", "handshake"}, strings.Fields(strings.Repeat("sync ", 50))...), false, "level=INFO msg=\"old master still copies"},
		{"has found it", []string{"handshake", "sync", "handshake", "sync", "handshake", "sync", "handshake", "connected"}, false, ""},
		{"is the master again", []string{"master"}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			th := &theatre{answers: map[string]func() respconn.Value{}}
			th.master = startFake(t, func(nc net.Conn) { th.node(nc, "master") })
			asked := 0
			th.answer("master ROLE", func() respconn.Value {
				link := c.links[asked%len(c.links)]
				if asked++; asked == 20 {
					cancel()
				}
				switch link {
				case "-":
					return respconn.Errorf("LOADING it is a fake")
				case "master":
					return respconn.List(respconn.Bulk("master"), respconn.Int(1), respconn.List())
				}
				return th.following(link, -1)
			})
			var log bytes.Buffer
			cfg := Config{Pool: "p"}.withDefaults()
			s := &Switchover{m: &Monitor{ctx: t.Context(), log: slog.New(slog.NewTextHandler(&log, nil))}, cfg: &cfg, group: "g1", master: askNode(th.master.addr, &cfg)}
			s.follow(ctx)
			if why := s.Following(); (why != nil) != c.early || why != nil && !strings.Contains(why.Error(), "masterauth") {
				t.Errorf("known: %v", why)
			}
			if got := log.String(); !strings.Contains(got, c.log) || c.log == "" && got != "" {
				t.Errorf("%s, want %q", got, c.log)
			}
		})
	}
}

// TestFollowEndsWithMonitor: what was cut short is no news.
func TestFollowEndsWithMonitor(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log bytes.Buffer
	cfg := Config{Pool: "p"}.withDefaults()
	s := &Switchover{m: &Monitor{ctx: ctx, log: slog.New(slog.NewTextHandler(&log, nil))}, cfg: &cfg, master: askNode(Address{"127.0.0.1", 1}, &cfg)}
	s.follow(ctx)
	if s.Following() != nil || log.Len() > 0 {
		t.Errorf("%v, %s", s.Following(), log.String())
	}
}

// TestSwitchoverIsFollowed: a demoted master is looked after.
func TestSwitchoverIsFollowed(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	asked := 0
	th.answer("master REPLICAOF", func() respconn.Value {
		th.answers["master ROLE"] = func() respconn.Value {
			asked++
			return th.following([]string{"handshake", "sync"}[asked%2], -1)
		}
		return respconn.Simple("OK")
	})
	s := th.begun(t)
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr || s.Standing() != nil {
		t.Fatalf("%v, %v, %v", to, err, s.Standing())
	}
	s.Close()
	eventually(t, "it is known that the old master does not follow", func() bool { return s.Following() != nil })
}
