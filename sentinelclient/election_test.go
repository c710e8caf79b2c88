package sentinelclient

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestElection: what led to a master is told with it, and what led nowhere is not.
func TestElection(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ms := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	cfg := Config{Pool: "p", Groups: []string{"g1"}}.withDefaults()
	var nodes nodeID
	g := newGroup("g1", &cfg, func() float64 { return 0.5 }, &nodes, func(Address) string { return "" }, start)
	g.sentinel = func(id linkID) Address { return Address{Host: "s", Port: int(id)} }
	step := func(at int, ev any) { g.Step(ms(at), ev) }
	says := func(at int, link linkID, who string, epoch uint64) {
		step(at, evAnswer{link: link, answer: answer{Group: "g1", Master: letter(who), HasInfo: true, Asked: ms(at), Info: masterInfo{Address: letter(who), Epoch: epoch}}})
	}
	master := func(at int, p *peer) {
		step(at, evReport{node: p.id, report: report{Verdict: verdictMaster, Asked: ms(at)}})
	}

	step(0, evElectorate{members: []linkID{1, 2, 3}})
	says(1, 1, "a", 1)
	says(2, 2, "a", 1)
	master(4, g.probe)
	s := func(id int, who string, epoch uint64, state string) Vote {
		v := Vote{Sentinel: Address{Host: "s", Port: id}, Epoch: epoch, State: state}
		if who != "" {
			v.Master = letter(who)
		}
		return v
	}
	expect := func(want Election) {
		t.Helper()
		if d := cmp.Diff(want, g.view(ms(9999)).Election); d != "" {
			t.Errorf("election (-want +got):\n%s", d)
		}
	}
	expect(Election{DecidedAt: ms(2), TakenAt: ms(4), Votes: []Vote{s(1, "a", 1, "voted"), s(2, "a", 1, "voted"), s(3, "", 0, "silent")}})

	// A failover that is given up, and one that is not.
	step(10, evHint{link: 1, event: event{name: "+elected-leader", group: "g1", master: letter("a")}})
	step(20, evHint{link: 1, event: event{name: "-failover-abort-no-good-slave", group: "g1", master: letter("a")}})
	step(30, evHint{link: 1, event: event{name: "+elected-leader", group: "g1", master: letter("a")}})
	step(31, evHint{link: 1, event: event{name: "+selected-slave", group: "g1", master: letter("a")}})
	step(40, evVoterTilt{link: 3, on: true})
	says(41, 3, "a", 1)
	says(50, 1, "b", 2)
	says(60, 2, "b", 2)
	master(70, g.probe)
	expect(Election{Sign: "+elected-leader", SignAt: ms(30), DecidedAt: ms(60), TakenAt: ms(70),
		Votes: []Vote{s(1, "b", 2, "voted"), s(2, "b", 2, "voted"), s(3, "a", 1, "tilt")}})

	// An operator's choice is no election.
	step(100, evPin{to: letter("c")})
	expect(Election{TakenAt: ms(100), Votes: []Vote{s(1, "b", 2, "voted"), s(2, "b", 2, "voted"), s(3, "a", 1, "tilt")}})
}
