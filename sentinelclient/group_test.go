package sentinelclient

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestGroupTranscripts drives the group's machine by the scripts in
// testdata/group. Letters stand for addresses, numbers for sentinels; each line
// of an events block is one event:
//
//	answer <n> <address> [epoch=n] [state=failover state] [down=ms] [ok=ms] [replicas=n] [noinfo] [torn]
//	unknown <n> | lost <n> | tilt <n> on|off | hint <n> <event> <master> [replica]
//	suspect <cause> | pin <address> | master <node> [run=id] [replica:lag ...]
//	report <node> <verdict> [cause]
func TestGroupTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/group", func(t *testing.T, path string) {
		var g *group
		var nodes nodeID
		c := clock{now: epoch0}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			show := func(list []action) {
				for _, a := range list {
					if a, ok := a.(query); ok && d.HasArg("quiet") {
						_ = a
						continue
					}
					b.WriteString(lines([]action{a}))
				}
			}
			switch d.Cmd {
			case "group":
				cfg := Config{Lease: durationArg(t, d, "lease", "-1ns"), Links: intArg(t, d, "links", 0),
					FollowEarly: arg(t, d, "follow", "") == "early"}.withDefaults()
				nodes, c.now = 0, epoch0
				self := arg(t, d, "refuse", "")
				refuse := func(a Address) string {
					if a.Host == self {
						return "it is the proxy itself"
					}
					return ""
				}
				g = newGroup("g1", &cfg, half, &nodes, refuse, c.now)
				var members []linkID
				for i := range intArg(t, d, "of", 3) {
					members = append(members, linkID(i+1))
				}
				show(g.Step(c.now, evElectorate{members: members}))
			case "events":
				for line := range strings.Lines(d.Input) {
					show(g.Step(c.now, groupEvent(t, &c, words(line))))
				}
			case "advance":
				end := c.now.Add(durationArg(t, d, "by", "1s"))
				queries := 0
				for n := g.next(c.now); !n.IsZero() && !n.After(end); n = g.next(c.now) {
					if n.After(c.now) {
						c.now = n
					}
					for _, a := range g.Step(c.now, evTick{}) {
						if _, ok := a.(query); ok {
							queries++
							continue
						}
						fmt.Fprintf(&b, "%v: %s", &c, lines([]action{a}))
					}
				}
				c.now = end
				fmt.Fprintf(&b, "%v: %d queries\n", &c, queries)
			default:
				t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			}
			return b.String() + g.sketch(c.now)
		})
	})
}

func groupEvent(t *testing.T, c *clock, w []string) any {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	switch w[0] {
	case "answer":
		a := answer{Group: "g1", Master: letter(w[2]), HasInfo: true, Asked: c.now,
			Info: masterInfo{Address: letter(w[2]), DownAfter: 5 * time.Second, Quorum: 2, Sentinels: 3, Replicas: 1}}
		for _, f := range w[3:] {
			name, val, _ := strings.Cut(f, "=")
			switch name {
			case "epoch":
				a.Info.Epoch = uint64(number(val))
			case "state":
				a.Info.FailoverState = val
				a.Info.Flags = []string{"failover_in_progress"}
			case "down":
				a.Info.DownAfter = time.Duration(number(val)) * time.Millisecond
			case "ok":
				a.Info.LastOKPing = time.Duration(number(val)) * time.Millisecond
			case "replicas":
				a.Info.Replicas = number(val)
			case "noinfo":
				a.HasInfo, a.Info = false, masterInfo{}
			case "torn":
				a.Torn = true
			default:
				t.Fatalf("unknown field %q", name)
			}
		}
		return evAnswer{link: linkID(number(w[1])), answer: a}
	case "unknown":
		return evAnswer{link: linkID(number(w[1])), answer: answer{Group: "g1", Unknown: true, Asked: c.now}}
	case "lost":
		return evVoterLost{link: linkID(number(w[1]))}
	case "tilt":
		return evVoterTilt{link: linkID(number(w[1])), on: w[2] == "on"}
	case "hint":
		e := event{name: w[2], group: "g1", master: letter(w[3])}
		if len(w) > 4 {
			e.node = letter(w[4])
		}
		return evHint{link: linkID(number(w[1])), event: e}
	case "suspect":
		return evSuspect{cause: w[1]}
	case "pin":
		return evPin{to: letter(w[1])}
	case "master":
		r := report{Verdict: verdictMaster, RunID: "r1", Asked: c.now}
		for _, f := range w[2:] {
			if run, ok := strings.CutPrefix(f, "run="); ok {
				r.RunID = run
				continue
			}
			name, lag, _ := strings.Cut(f, ":")
			r.Replicas = append(r.Replicas, replica{Address: letter(name), Online: lag != "down", Lag: 0})
			if lag != "down" {
				r.Replicas[len(r.Replicas)-1].Lag = time.Duration(number(lag)) * time.Second
			}
		}
		return evReport{node: nodeID(number(w[1])), report: r}
	case "report":
		for v, name := range verdicts {
			if name == w[2] {
				return evReport{node: nodeID(number(w[1])), report: report{Verdict: verdict(v), Cause: strings.Join(w[3:], " "), Asked: c.now}}
			}
		}
	}
	t.Fatalf("unknown event %v", w)
	return nil
}

func (g *group) sketch(now time.Time) string {
	s := "[" + g.state.String()
	if !g.master.IsZero() {
		s += fmt.Sprintf(" %s at %d", g.master.Host, g.epoch)
	}
	if held, until, by := g.authority(now); held && until.IsZero() {
		s += ", vouched for by " + by
	} else if held {
		s += fmt.Sprintf(", vouched for by %s for %v", by, until.Sub(now))
	}
	if g.failover != "" {
		s += ", " + g.failover
	}
	if g.pinned {
		s += ", pinned"
	}
	if g.cause != "" {
		s += "; " + g.cause
	}
	return s + "]\n"
}
