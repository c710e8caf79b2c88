package sentinelclient

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"respgate/internal/respconn"
)

// sim answers a pool as sentinels and nodes would, in no time at all.
type sim struct {
	t     *testing.T
	clock clock
	p     *pool
	notes strings.Builder
	told  map[string]time.Time // as the monitor logs complaints

	sentinels map[Address]*simSentinel
	nodes     map[Address]verdict
	wires     map[wireID]*simSentinel
	dials     int
	queries   map[*simSentinel][]time.Time // SENTINEL MASTER
}

type simSentinel struct {
	runID                      string
	down, stalled, tilt, resp2 bool
	masters                    map[string]candidate
	wires                      []wireID
}

func sentinelAddress(name string) Address { return Address{Host: "s" + name, Port: 26379} }

func (s *sim) sentinel(name string) *simSentinel {
	a := sentinelAddress(name)
	if s.sentinels[a] == nil {
		s.sentinels[a] = &simSentinel{runID: name, masters: map[string]candidate{}}
	}
	return s.sentinels[a]
}

// carry does what the pool wants, and what comes of that, until it is quiet.
func (s *sim) carry(list []action) {
	for len(list) > 0 {
		a := list[0]
		list = list[1:]
		switch a := a.(type) {
		case note:
			last, told := s.told[a.String()]
			if a.complaint && told && s.clock.now.Sub(last) < complainEvery {
				continue
			}
			s.told[a.String()] = s.clock.now
			if a.level > slog.LevelDebug {
				fmt.Fprintf(&s.notes, "%v: %v\n", &s.clock, a)
			}
		case dial:
			s.dials++
			sn := s.sentinels[a.to]
			if sn == nil || sn.down {
				list = append(list, s.p.onWire(s.clock.now, a.wire, evBroken{a.wire, errors.New("connection refused")})...)
				continue
			}
			s.wires[a.wire] = sn
			sn.wires = append(sn.wires, a.wire)
			list = append(list, s.p.onWire(s.clock.now, a.wire, evConnected{a.wire})...)
		case hangUp:
			delete(s.wires, a.wire)
		case send:
			if sn := s.wires[a.wire]; sn != nil && s.queries != nil && a.args[0] == "SENTINEL" && a.args[1] == "MASTER" {
				s.queries[sn] = append(s.queries[sn], s.clock.now)
			}
			if sn := s.wires[a.wire]; sn != nil && !sn.stalled {
				for _, v := range sn.reply(s.t, a.args) {
					list = append(list, s.p.onWire(s.clock.now, a.wire, evValue{a.wire, v})...)
				}
			}
		case ask:
			v, ok := s.nodes[a.to]
			if !ok {
				v = verdictUnreachable
			}
			r := report{Verdict: v, Asked: s.clock.now}
			if v != verdictMaster {
				r.Cause = "it is " + v.String()
			}
			list = append(list, s.p.onNode(s.clock.now, a.node, r)...)
		}
	}
}

func (sn *simSentinel) reply(t *testing.T, args []string) []respconn.Value {
	one := func(line string) []respconn.Value { return []respconn.Value{parseValue(t, line)} }
	switch {
	case args[0] == "HELLO" && sn.resp2:
		return one(`"-ERR unknown command 'HELLO'"`)
	case args[0] == "HELLO":
		return one("%2 $proto :3 $mode $sentinel")
	case args[0] == "PSUBSCRIBE":
		var list []respconn.Value
		for i, p := range args[1:] {
			kind := map[bool]string{true: "*", false: ">"}[sn.resp2]
			list = append(list, one(fmt.Sprintf("%s3 $psubscribe $%s :%d", kind, p, i+1))...)
		}
		return list
	case args[0] == "PING":
		return one("+PONG")
	case args[0] == "INFO":
		return []respconn.Value{respconn.Bulk(fmt.Sprintf("run_id:%s\r\nsentinel_tilt:%d\r\n", sn.runID, map[bool]int{true: 1}[sn.tilt]))}
	case args[0] == "SENTINEL":
		m, ok := sn.masters[args[2]]
		switch {
		case !ok && args[1] == "MASTER":
			return one(`"-ERR No such master with that name"`)
		case !ok:
			return one("_")
		case args[1] == "MASTER":
			return one(fmt.Sprintf("MASTER %s %v config-epoch=%d", args[2], m.Address, m.Epoch))
		}
		return one(fmt.Sprintf("*2 $%s $%d", m.Address.Host, m.Address.Port))
	}
	t.Fatalf("unknown request %v", args)
	return nil
}

func (s *sim) advance(by time.Duration) {
	end := s.clock.now.Add(by)
	for n := s.p.next(s.clock.now); !n.IsZero() && !n.After(end); n = s.p.next(s.clock.now) {
		if n.After(s.clock.now) {
			s.clock.now = n
		}
		s.carry(s.p.tick(s.clock.now))
		if again := s.p.next(s.clock.now); !again.IsZero() && !again.After(s.clock.now) {
			s.t.Fatalf("%v: it wants a tick at once, again", &s.clock)
		}
	}
	s.clock.now = end
}

// sketch is the pool in a few lines.
func (s *sim) sketch() string {
	var b strings.Builder
	b.WriteString(s.notes.String())
	s.notes.Reset()
	ready, cause := s.p.ready()
	fmt.Fprintf(&b, "ready %v", ready)
	if cause != "" {
		fmt.Fprintf(&b, " (%s)", cause)
	}
	for _, st := range s.p.statuses() {
		fmt.Fprintf(&b, " %s:%v", st.Host, st.State)
		if st.Active {
			b.WriteString("*")
		}
		if st.Tilt {
			b.WriteString("(tilt)")
		}
	}
	for _, name := range s.p.names {
		v := s.p.viewOf(s.clock.now, name, ready)
		fmt.Fprintf(&b, "\n%s %v %v", name, v.State, v.Master)
		if v.Authority {
			b.WriteString(" authority")
		}
		if v.Cause != "" {
			fmt.Fprintf(&b, " (%s)", v.Cause)
		}
	}
	return b.String() + "\n"
}

// TestPoolTranscripts drives the whole pure core by the scripts in testdata/pool.
func TestPoolTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/pool", func(t *testing.T, path string) {
		s := &sim{t: t, sentinels: map[Address]*simSentinel{}, nodes: map[Address]verdict{}, wires: map[wireID]*simSentinel{}, told: map[string]time.Time{}}
		s.clock.now = epoch0
		var cfg Config
		configure := func(d *datadriven.TestData) {
			if d.HasArg("links") {
				cfg.Links = intArg(t, d, "links", 0)
			}
			if d.HasArg("lease") {
				cfg.Lease = durationArg(t, d, "lease", "0s")
			}
			if d.HasArg("sentinels") {
				cfg.Sentinels = nil
				for _, name := range strings.Split(arg(t, d, "sentinels", ""), ",") {
					cfg.Sentinels = append(cfg.Sentinels, Sentinel{Address: sentinelAddress(name)})
				}
			}
			if d.HasArg("groups") {
				cfg.Groups = strings.Split(arg(t, d, "groups", ""), ",")
			}
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "world": // one line each
				for line := range strings.Lines(d.Input) {
					s.change(words(line))
				}
				if s.p == nil {
					return ""
				}
			case "start":
				cfg = Config{Pool: "p", Lease: LeaseAuto}
				configure(d)
				s.p = newPool(cfg, half, s.clock.now)
				s.carry(s.p.out.take())
			case "reconfigure":
				configure(d)
				s.carry(s.p.reconfigure(s.clock.now, cfg))
			case "rotate":
				var to *Address
				if name := arg(t, d, "to", ""); name != "" {
					a := sentinelAddress(name)
					to = &a
				}
				list, err := s.p.onRotate(s.clock.now, to)
				s.carry(list)
				if err != nil {
					return "error: " + err.Error() + "\n" + s.sketch()
				}
			case "advance":
				before := s.dials
				s.advance(durationArg(t, d, "by", "1s"))
				if d.HasArg("dials") {
					return fmt.Sprintf("%d dials\n", s.dials-before) + s.sketch()
				}
			default:
				t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			}
			return s.sketch()
		})
	})
}

// change alters the world:
//
//	say <sentinels> <group> <node> [epoch]   node <name> <verdict>
//	forget|down|up|stall|resume|tilt|untilt <sentinels>
//	process <sentinels> <name>               they are one
func (s *sim) change(w []string) {
	if w[0] == "node" {
		s.nodes[letter(w[1])] = verdict(slices.Index(verdicts[:], w[2]))
		return
	}
	for _, name := range strings.Split(w[1], ",") {
		sn := s.sentinel(name)
		switch w[0] {
		case "say":
			c := candidate{Address: letter(w[3])}
			if len(w) > 4 {
				c.Epoch, _ = strconv.ParseUint(w[4], 10, 64)
			}
			old, switched := sn.masters[w[2]]
			sn.masters[w[2]] = c
			if switched && old.Address != c.Address {
				s.publish(sn, "+switch-master", fmt.Sprintf("%s %s %d %s %d", w[2], old.Address.Host, old.Address.Port, c.Address.Host, c.Address.Port))
			}
		case "process":
			sn.runID = w[2]
		case "forget":
			delete(sn.masters, w[2])
		case "down":
			sn.down = true
			for _, id := range sn.wires {
				s.carry(s.p.onWire(s.clock.now, id, evBroken{id, errHungUp}))
			}
			sn.wires = nil
		case "up":
			sn.down, sn.stalled = false, false
		case "stall":
			sn.stalled = true
		case "resume":
			sn.stalled = false
		case "tilt", "untilt":
			sn.tilt = w[0] == "tilt"
			s.publish(sn, map[bool]string{true: "+tilt", false: "-tilt"}[sn.tilt], "#tilt mode")
		case "resp2":
			sn.resp2 = true
		default:
			s.t.Fatalf("unknown change %v", w)
		}
	}
}

func (s *sim) publish(sn *simSentinel, channel, payload string) {
	if sn.stalled || sn.down {
		return
	}
	var open []wireID
	for _, id := range sn.wires {
		if s.wires[id] == sn {
			open = append(open, id)
		}
	}
	if len(open) == 0 {
		return
	}
	kind := map[bool]string{true: "*", false: ">"}[sn.resp2] // the first one is the subscription
	v := parseValue(s.t, fmt.Sprintf("%s4 $pmessage $%s* $%s %q", kind, channel[:1], channel, "$"+payload))
	s.carry(s.p.onWire(s.clock.now, open[0], evValue{open[0], v}))
}
