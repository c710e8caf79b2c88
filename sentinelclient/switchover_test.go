package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
)

// theatre is a group of a master and a replica with three sentinels, in which a
// planned switch goes well until a test gives somebody another answer.
type theatre struct {
	master, replica *fake
	sentinels       []*fakeSentinel
	monitor         *Monitor
	view            *views

	mu       sync.Mutex
	lines    []string                         // what the nodes and the sentinels were told to do, in order
	answers  map[string]func() respconn.Value // by "<who> <command>"; a nil function closes the connection
	failing  bool                             // SENTINEL FAILOVER was agreed to
	promoted bool
	told     bool // the sentinels tell the new address
}

// quiet are the questions that are no part of the script.
var quiet = []string{"PING", "ROLE", "INFO", "ACL DRYRUN", "CONFIG GET", "HELLO", "AUTH", "PSUBSCRIBE", "MULTI", "PUBSUB", "EXEC", "SENTINEL MASTER", "SENTINEL GET-MASTER-ADDR-BY-NAME", "SENTINEL CKQUORUM", "SENTINEL REPLICAS", "CLIENT LIST"}

func openTheatre(t *testing.T) *theatre {
	t.Helper()
	th := &theatre{answers: map[string]func() respconn.Value{}}
	th.master = startFake(t, func(c net.Conn) { th.node(c, "master") })
	th.replica = startFake(t, func(c net.Conn) { th.node(c, "replica") })
	cfg := Config{Pool: "p", Groups: []string{"g1"}, Lease: LeaseAuto, Timeout: 2 * time.Second, MasterTimeout: 10 * time.Second}
	for i := range 3 {
		s := startFakeSentinel(t, false, map[string]candidate{"g1": {Address: th.master.addr, Epoch: 1}})
		s.mu.Lock()
		s.hook = func(args []string) (respconn.Value, bool) {
			v, ok := th.ask(fmt.Sprintf("sentinel%d", i+1), args)
			return v, ok
		}
		s.mu.Unlock()
		th.sentinels = append(th.sentinels, s)
		cfg.Sentinels = append(cfg.Sentinels, Sentinel{Address: s.addr})
	}
	m, v := startMonitor(t, cfg)
	th.monitor, th.view = m, v
	eventually(t, "the master is found", up(v, "g1", th.master.addr))
	eventually(t, "the first sentinel is the active one", func() bool {
		_ = m.Rotate(&th.sentinels[0].addr) // refused until it is watched
		return v.get().Active == th.sentinels[0].addr
	})
	return th
}

func (th *theatre) node(nc net.Conn, who string) {
	c := respconn.NewServer(nc, respconn.RequestLimits{})
	for {
		args, err := c.ReadRequest()
		if err != nil {
			return
		}
		v, ok := th.ask(who, args)
		if !ok || c.Reply(v) != nil || c.Flush() != nil {
			return
		}
	}
}

// ask notes a command and answers it.
func (th *theatre) ask(who string, args []string) (respconn.Value, bool) {
	th.mu.Lock()
	defer th.mu.Unlock()
	line := strings.Join(args, " ")
	if !slices.ContainsFunc(quiet, func(q string) bool { return strings.HasPrefix(strings.ToUpper(line), q) }) {
		th.lines = append(th.lines, who+" "+th.anonymous(line))
	}
	for key, f := range th.answers {
		if strings.HasPrefix(who+" "+line, key) {
			if f == nil {
				return respconn.Value{}, false
			}
			return f(), true
		}
	}
	if strings.HasPrefix(who, "sentinel") {
		return th.sentinel(line)
	}
	return th.server(who, line), true
}

// anonymous gives addresses the names of the play.
func (th *theatre) anonymous(line string) string {
	for _, n := range []struct {
		f    *fake
		name string
	}{{th.master, "master"}, {th.replica, "replica"}} {
		line = strings.ReplaceAll(line, n.f.addr.Host+" "+strconv.Itoa(n.f.addr.Port), n.name)
		line = strings.ReplaceAll(line, n.f.addr.String(), n.name)
	}
	return line
}

func (th *theatre) sentinel(line string) (respconn.Value, bool) {
	old, fresh := th.master.addr, th.replica.addr
	switch line {
	case "SENTINEL CKQUORUM g1":
		return respconn.Simple("OK 3 usable Sentinels"), true
	case "SENTINEL REPLICAS g1":
		return respconn.List(respconn.Fields("ip", fresh.Host, "port", fmt.Sprint(fresh.Port), "flags", "slave", "slave-priority", "100")), true
	case "SENTINEL FAILOVER g1":
		th.failing, th.promoted, th.told = true, true, true
		return respconn.Simple("OK"), true
	case "SENTINEL MASTER g1":
		if th.failing && !th.told {
			return th.info("flags", "master,failover_in_progress"), true
		}
	case "SENTINEL GET-MASTER-ADDR-BY-NAME g1":
		if th.told {
			return respconn.Strings(fresh.Host, fmt.Sprint(fresh.Port)), true
		}
		return respconn.Strings(old.Host, fmt.Sprint(old.Port)), true
	}
	return respconn.Value{}, false
}

// info is the reply of SENTINEL MASTER with fields changed.
func (th *theatre) info(pairs ...string) respconn.Value {
	f := []any{"name", "g1", "ip", th.master.addr.Host, "port", fmt.Sprint(th.master.addr.Port), "flags", "master", "last-ok-ping-reply", "10",
		"down-after-milliseconds", "5000", "config-epoch", "1", "num-slaves", "1", "num-other-sentinels", "2", "quorum", "2"}
	for i := 0; i < len(pairs); i += 2 {
		at := slices.Index(f, any(pairs[i]))
		f[at+1] = pairs[i+1]
	}
	return respconn.Fields(f...)
}

func (th *theatre) server(who, line string) respconn.Value {
	channel := respconn.Bulk("respgate:switch:g1")
	switch {
	case line == "PING":
		return respconn.Simple("PONG")
	case line == "ROLE" && (who == "master" || th.promoted):
		return respconn.List(respconn.Bulk("master"), respconn.Int(1000), respconn.List())
	case line == "ROLE":
		return th.following("connected", 1000)
	case line == "INFO replication":
		return respconn.Bulk("role:master\r\nconnected_slaves:0\r\n")
	case line == "EXEC":
		return respconn.List(respconn.List(channel, respconn.Int(0)), respconn.List(respconn.Bulk("subscribe"), channel, respconn.Int(1)))
	case strings.HasPrefix(line, "CLIENT LIST TYPE normal"):
		return respconn.Bulk("id=3 addr=127.0.0.1:1 name= cmd=get\nid=5 name=sentinel-0123abcd-cmd cmd=ping\nid=7 name=x cmd=set\n")
	case strings.HasPrefix(line, "CLIENT LIST"):
		return respconn.Bulk("id=9 name=sentinel-0123abcd-pubsub\nid=11 name=\n")
	}
	return respconn.Simple("OK")
}

func (th *theatre) following(link string, offset int) respconn.Value {
	return respconn.List(respconn.Bulk("slave"), respconn.Bulk(th.master.addr.Host), respconn.Int(int64(th.master.addr.Port)), respconn.Bulk(link), respconn.Int(int64(offset)))
}

// answer lets somebody answer otherwise from now on.
func (th *theatre) answer(to string, f func() respconn.Value) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.answers[to] = f
}

func (th *theatre) always(to string, v respconn.Value) {
	th.answer(to, func() respconn.Value { return v })
}

// script is what was done so far.
func (th *theatre) script() []string {
	th.mu.Lock()
	defer th.mu.Unlock()
	return slices.Clone(th.lines)
}

func (th *theatre) did(line string) bool { return slices.Contains(th.script(), line) }

const agreed = "sentinel1 SENTINEL FAILOVER g1"

// TestSwitchover does each thing once and in its order; some time later the old
// master's clients are closed, sentinels not among them.
func TestSwitchover(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	to, err := switchOver(t.Context(), th.monitor, "g1")
	if err != nil || to != th.replica.addr {
		t.Fatalf("%v, %v; want %v", to, err, th.replica.addr)
	}
	want := []string{
		"master SUBSCRIBE respgate:switch:g1", "master CLIENT PAUSE 2500 WRITE", agreed,
		"master REPLICAOF replica", "master CLIENT UNPAUSE", "master CONFIG REWRITE",
	}
	if d := cmp.Diff(want, th.script()); d != "" {
		t.Error(d)
	}
	want = append(want, "master CLIENT KILL ID 3 SKIPME yes", "master CLIENT KILL ID 7 SKIPME yes", "master CLIENT KILL ID 11 SKIPME yes")
	eventually(t, "the clients are closed", func() bool { return len(th.script()) >= len(want) })
	if d := cmp.Diff(want, th.script()); d != "" {
		t.Error(d)
	}
}

// TestSwitchoverRefused: whoever is in the way, the error says so, and nothing
// stays paused.
func TestSwitchoverRefused(t *testing.T) {
	t.Parallel()
	fail := func(text string) respconn.Value { return respconn.Errorf("%s", text) }
	for _, c := range []struct {
		name   string
		set    func(th *theatre)
		want   string // how the error begins
		has    string
		paused bool // it had come so far
		asked  bool // even for the failover
	}{
		{"no quorum", func(th *theatre) {
			th.always("sentinel1 SENTINEL CKQUORUM", fail("NOQUORUM 1 usable Sentinels"))
			th.always("sentinel2 SENTINEL CKQUORUM", fail("NOQUORUM 1 usable Sentinels"))
		}, "NOQUORUM 1 of the 3 sentinels of pool p", "1 usable Sentinels", false, false},
		{"one failover runs", func(th *theatre) {
			th.always("sentinel3 SENTINEL MASTER", th.info("flags", "master,failover_in_progress"))
		}, "INPROG ", "is under way", false, false},
		{"another master", func(th *theatre) {
			for _, s := range []string{"sentinel1", "sentinel3"} {
				th.always(s+" SENTINEL MASTER", th.info("port", "1"))
			}
		}, "NOQUORUM 1 of the 3", "its master is", false, false},
		{"down", func(th *theatre) {
			for _, s := range []string{"sentinel1", "sentinel3"} {
				th.always(s+" SENTINEL MASTER", th.info("flags", "master,s_down"))
			}
		}, "NOQUORUM 1 of the 3", "is down", false, false},
		{"nobody knows it", func(th *theatre) { th.always("sentinel", fail("ERR No such master with that name")) }, "NOGROUP sentinel ", "", false, false},
		{"impatient sentinels", func(th *theatre) { th.always("sentinel2 SENTINEL MASTER", th.info("down-after-milliseconds", "999")) }, "ERR down-after-milliseconds is 999", "set 1000 or more", false, false},
		{"no replica", func(th *theatre) { th.lists() }, "NOREPLICA ", "0 known", false, false},
		{"a replica that may not", func(th *theatre) {
			th.lists(respconn.Fields("ip", "10.0.0.2", "port", "1", "flags", "slave", "slave-priority", "0"))
		}, "NOREPLICA ", "10.0.0.2:1 its priority is 0", false, false},
		{"a replica that is down", func(th *theatre) {
			th.lists(respconn.Fields("ip", "10.0.0.2", "port", "1", "flags", "s_down,slave", "slave-priority", "1"))
		}, "NOREPLICA ", "10.0.0.2:1 s_down", false, false},
		{"a replica without its master", func(th *theatre) { th.always("replica ROLE", th.following("connecting", 1000)) }, "NOREPLICA replica ", "it must be connected", false, false},
		{"a replica far behind", func(th *theatre) {
			th.always("master ROLE", respconn.List(respconn.Bulk("master"), respconn.Int(100<<20), respconn.List()))
		}, "NOREPLICA replica ", "bytes behind", false, false},
		{"a replica that is gone", func(th *theatre) { th.answer("replica ROLE", nil) }, "NOREPLICA replica ", "", false, false},
		{"the master is none", func(th *theatre) { th.always("master ROLE", th.following("connected", 1)) }, "ERR ", "it is a slave now", false, false},
		{"a master that may not be demoted", func(th *theatre) {
			th.always("master ACL DRYRUN default REPLICAOF", respconn.Bulk("This user has no permissions to run the 'replicaof' command"))
		}, "NOPERM master ", "+replicaof", false, false},
		{"a master that cannot be demoted", func(th *theatre) {
			th.always("master ACL DRYRUN default REPLICAOF", fail("ERR Command 'REPLICAOF' not found"))
		}, "NOPERM master ", "not found", false, false},
		{"another proxy", func(th *theatre) {
			th.always("master EXEC", respconn.List(respconn.List(respconn.Bulk("c"), respconn.Int(1)), respconn.List()))
		}, "INPROG master ", "respgate:switch:g1", false, false},
		{"no lock", func(th *theatre) {
			th.always("master SUBSCRIBE", fail("NOPERM No permissions to access a channel"))
			th.always("master EXEC", fail("EXECABORT Transaction discarded"))
		}, "NOPERM master ", "needs SUBSCRIBE", false, false},
		{"no pause", func(th *theatre) { th.always("master CLIENT PAUSE", fail("ERR syntax error")) }, "ERR pause: master ", "Redis 6.2", true, false},
		{"no catching up", func(th *theatre) {
			th.always("replica ROLE", th.following("connected", 940))
		}, "NOREPLICA catch-up: replica ", "lacks 60 bytes", true, false},
		{"refused", func(th *theatre) { th.always(agreed, fail("INPROG Failover already in progress")) }, "INPROG sentinel ", "", true, true},
		{"no good slave", func(th *theatre) { th.always(agreed, fail("NOGOODSLAVE No suitable replica to promote")) }, "NOREPLICA sentinel ", "", true, true},
		{"given up", func(th *theatre) { th.always(agreed, respconn.Simple("OK")) }, "NOREPLICA failover: sentinel ", "given it up", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			th := openTheatre(t)
			c.set(th)
			_, err := switchOver(t.Context(), th.monitor, "g1")
			var ce *CommandError
			if !errors.As(err, &ce) || !strings.HasPrefix(err.Error(), c.want) || !strings.Contains(err.Error(), c.has) {
				t.Errorf("%v, want %s...%s", err, c.want, c.has)
			}
			if th.did("master CLIENT UNPAUSE") != c.paused || th.did(agreed) != c.asked || th.did("master REPLICAOF replica") {
				t.Errorf("paused should be %t, asked %t: %q", c.paused, c.asked, th.script())
			}
			if open := "master SUBSCRIBE respgate:switch:g1"; c.paused && !th.did(open) {
				t.Errorf("it was not locked: %q", th.script())
			}
		})
	}
}

// TestSwitchoverOfMinority: one sentinel that cannot or will not is outvoted.
func TestSwitchoverOfMinority(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	th.always("sentinel1 SENTINEL CKQUORUM", respconn.Errorf("NOQUORUM 1 usable Sentinels"))
	if _, err := switchOver(t.Context(), th.monitor, "g1"); err != nil || !th.did("sentinel2 SENTINEL FAILOVER g1") {
		t.Errorf("%v: %q", err, th.script())
	}
}

// begun is a switch whose old master is fenced.
func (th *theatre) begun(t *testing.T) *Switchover {
	t.Helper()
	s, err := th.monitor.Switchover(t.Context(), "g1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSwitchoverStopped: a proxy that was stopped while the old master was paused
// finds that the pause is over, and does not ask for the failover.
func TestSwitchoverStopped(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	s.until = s.until.Add(-time.Minute)
	if _, err := s.Promote(t.Context(), certain); err == nil || !strings.HasPrefix(err.Error(), "TIMEOUT failover: ") || th.did(agreed) {
		t.Errorf("%v: %q", err, th.script())
	}
}

// TestSwitchoverFencesFirst: the sentinels tell of the new master only when the
// old one is its replica already, and has refused what was paused there.
func TestSwitchoverFencesFirst(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	th.answer(agreed, func() respconn.Value { th.failing, th.promoted = true, true; return respconn.Simple("OK") })
	th.answer("master CLIENT UNPAUSE", func() respconn.Value { th.told = true; return respconn.Simple("OK") })
	s := th.begun(t)
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr {
		t.Fatalf("%v, %v", to, err)
	}
	if d := cmp.Diff([]string{agreed, "master REPLICAOF replica", "master CLIENT UNPAUSE", "master CONFIG REWRITE"}, th.script()[2:]); d != "" {
		t.Error(d)
	}
}

// TestSwitchoverLeaderForgets: the leader dies between the promotion and its
// announcement, and nobody else knows of the new master: another sentinel takes
// the failover over.
func TestSwitchoverLeaderForgets(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	th.answer(agreed, func() respconn.Value { th.promoted = true; return respconn.Simple("OK") })
	th.answer("sentinel1 SENTINEL MASTER", func() respconn.Value {
		if th.promoted {
			th.sentinels[0].deaf.Store(true)
		}
		return th.info()
	})
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr {
		t.Fatalf("%v, %v", to, err)
	}
	want := []string{agreed, "master REPLICAOF replica", "master CLIENT UNPAUSE", "master CONFIG REWRITE", "sentinel2 SENTINEL FAILOVER g1"}
	got := th.script()[2:]
	got[len(got)-1] = strings.Replace(got[len(got)-1], "sentinel3", "sentinel2", 1)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestSwitchoverKeepsPause: an old master that cannot be made a replica stays
// paused, for nobody must write to it.
func TestSwitchoverKeepsPause(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	th.always("master REPLICAOF", respconn.Errorf("ERR REPLICAOF not allowed"))
	s := th.begun(t)
	to, err := s.Promote(t.Context(), certain)
	s.Close()
	if err != nil || to != th.replica.addr || th.did("master CLIENT UNPAUSE") || s.Standing() == nil {
		t.Errorf("%v, %v: %q", to, err, th.script())
	}
}

// TestSwitchoverSentinelDies: the sentinel that agreed is gone before it tells of
// anything; the others hear of the new master.
func TestSwitchoverSentinelDies(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	th.answer(agreed, func() respconn.Value {
		th.failing, th.promoted, th.told = true, true, true
		return respconn.Simple("OK")
	})
	th.answer("sentinel1 SENTINEL GET-MASTER-ADDR-BY-NAME", func() respconn.Value {
		th.sentinels[0].mute.Store(th.failing) // from the next question on
		return respconn.Strings(th.master.addr.Host, fmt.Sprint(th.master.addr.Port))
	})
	th.answer("sentinel1 SENTINEL MASTER", func() respconn.Value {
		if !th.failing {
			return th.info()
		}
		return th.info("flags", "master,failover_in_progress")
	})
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr || !th.did("master REPLICAOF replica") {
		t.Errorf("%v, %v: %q", to, err, th.script())
	}
}

// TestSwitchoverUnanswered: a sentinel that does not answer may be failing over
// all the same. What it has become is asked of the others.
func TestSwitchoverUnanswered(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	s := th.begun(t)
	th.answer(agreed, func() respconn.Value {
		th.failing, th.promoted, th.told = true, true, true
		th.sentinels[0].deaf.Store(true)
		return respconn.Simple("OK") // which is not sent any more
	})
	if to, err := s.Promote(t.Context(), certain); err != nil || to != th.replica.addr || !th.did("master REPLICAOF replica") {
		t.Errorf("%v, %v: %q", to, err, th.script())
	}
}

// TestSwitchoverTimesOut: nobody tells of a new master, and nobody knows whether
// there will be one: the error says so, and nothing is undone.
func TestSwitchoverTimesOut(t *testing.T) {
	t.Parallel()
	th := openTheatre(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	th.answer(agreed, func() respconn.Value { th.failing = true; return respconn.Simple("OK") })
	th.answer("sentinel1 SENTINEL MASTER", func() respconn.Value {
		if th.failing {
			looks++
		}
		if looks == 20 { // more than the monitor has
			cancel()
		}
		return th.info("flags", map[bool]string{true: "master,failover_in_progress", false: "master"}[th.failing])
	})
	s := th.begun(t)
	_, err := s.Promote(ctx, certain)
	s.Close()
	if err == nil || !strings.HasPrefix(err.Error(), "TIMEOUT failover: ") || th.did("master CLIENT UNPAUSE") {
		t.Errorf("%v: %q", err, th.script())
	}
}

// TestSwitchoverCoordinated: Valkey 9 lets the servers settle it between
// themselves; a sentinel that does not know that is asked for the other one.
func TestSwitchoverCoordinated(t *testing.T) {
	t.Parallel()
	const coordinated = agreed + " COORDINATED"
	for _, knows := range []bool{true, false} {
		t.Run(fmt.Sprint("known ", knows), func(t *testing.T) {
			t.Parallel()
			th := openTheatre(t)
			th.always("master INFO server", respconn.Bulk("redis_version:7.2.4\r\nvalkey_version:9.0.1\r\nrun_id:abc\r\n"))
			th.answer(coordinated, func() respconn.Value {
				if !knows {
					return respconn.Errorf("ERR wrong number of arguments for 'sentinel|failover' command")
				}
				th.failing, th.promoted, th.told = true, true, true
				return respconn.Simple("OK")
			})
			if _, err := switchOver(t.Context(), th.monitor, "g1"); err != nil {
				t.Fatal(err)
			}
			if !th.did(coordinated) || th.did(agreed) == knows {
				t.Errorf("%q", th.script())
			}
		})
	}
}
