package sentinelclient

import (
	"testing"
	"time"
)

// at is a promise that ends so many seconds after the start.
func at(end, quorum, sentinels int) promise {
	return promise{End: epoch0.Add(time.Duration(end) * time.Second), Asked: epoch0, DownAfter: 10 * time.Second, Quorum: quorum, Sentinels: sentinels}
}

func TestLeaseEnd(t *testing.T) {
	tests := []struct {
		name       string
		configured int
		promises   []promise
		want       time.Duration // after the start, with the margin of 500 ms; 0: no lease
	}{
		{"nobody", 3, nil, 0},
		{"one sentinel", 1, []promise{at(9, 1, 1)}, 8500 * time.Millisecond},
		{"the second of three to find it down makes the quorum", 3, []promise{at(9, 2, 3), at(7, 2, 3), at(8, 2, 3)}, 7500 * time.Millisecond},
		{"one silent may have found it down", 3, []promise{at(9, 2, 3), at(7, 2, 3)}, 6500 * time.Millisecond},
		{"two silent may have made the quorum", 3, []promise{at(9, 2, 3)}, 0},
		{"quorum of one, all heard", 3, []promise{at(9, 1, 3), at(7, 1, 3), at(8, 1, 3)}, 6500 * time.Millisecond},
		{"quorum of one, one silent", 3, []promise{at(9, 1, 3), at(7, 1, 3)}, 0},
		{"the sentinels know of more than are configured", 1, []promise{at(9, 2, 5)}, 0},
		{"five, quorum of three, one silent", 5, []promise{at(9, 3, 5), at(7, 3, 5), at(8, 3, 5), at(6, 3, 5)}, 6500 * time.Millisecond},
		{"they differ in their quorum: the smallest counts", 3, []promise{at(9, 3, 3), at(7, 1, 3), at(8, 3, 3)}, 6500 * time.Millisecond},
		{"a quorum that nobody can reach", 3, []promise{at(9, 9, 3), at(7, 9, 3), at(8, 9, 3)}, 0},
	}
	for _, tt := range tests {
		got := leaseEnd(tt.configured, tt.promises)
		if tt.want == 0 && !got.IsZero() || tt.want != 0 && !got.Equal(epoch0.Add(tt.want)) {
			t.Errorf("%s: %v, want %v", tt.name, got.Sub(epoch0), tt.want)
		}
	}
}

func TestContact(t *testing.T) {
	const poll = time.Second
	type told struct {
		ago, downAfter time.Duration
		quorum         int
	}
	tests := []struct {
		name       string
		configured int
		told       []told
		fixed      time.Duration
		want       time.Duration // after the start
		none       bool
	}{
		{"nobody", 3, nil, 0, 0, true},
		{"no sentinel is configured", 0, nil, 0, 0, true},
		{"a minority", 3, []told{{0, 5 * time.Second, 2}}, 0, 0, true},
		{"the older one of two makes the majority", 3, []told{{0, 5 * time.Second, 2}, {time.Second, 5 * time.Second, 2}}, 0, 2 * time.Second, false},
		{"the oldest of three does not matter", 3, []told{{0, 5 * time.Second, 2}, {time.Hour, 5 * time.Second, 2}, {time.Second, 5 * time.Second, 2}}, 0, 2 * time.Second, false},
		{"a down-after as short as a PING period: half of it", 1, []told{{0, time.Second, 1}}, 0, 500 * time.Millisecond, false},
		{"less than down-after by the time between two PINGs", 1, []told{{0, 2500 * time.Millisecond, 1}}, 0, 1500 * time.Millisecond, false},
		{"as many as a quorum have to find it down", 3, []told{{0, 9 * time.Second, 2}, {0, 3 * time.Second, 2}, {0, time.Millisecond, 2}}, 0, 2 * time.Second, false},
		{"one is enough for a quorum", 3, []told{{0, 9 * time.Second, 1}, {0, 3 * time.Second, 1}, {0, 2 * time.Second, 3}}, 0, time.Second, false},
		{"one wants a quorum that nobody can reach", 3, []told{{0, 4 * time.Second, 2}, {0, 3 * time.Second, 9}, {0, 2 * time.Second, 2}}, 0, 2 * time.Second, false},
		{"a down-after that no poll could keep up with", 1, []told{{0, time.Millisecond, 1}}, 0, 300 * time.Millisecond, false},
		{"unknown down-after", 1, []told{{0, 0, 1}}, 0, 3 * time.Second, false},
		{"fixed by the operator", 1, []told{{time.Second, time.Second, 1}}, 20 * time.Second, 19 * time.Second, false},
	}
	for _, tt := range tests {
		b := newBallot()
		for i := range tt.configured {
			b.members = append(b.members, linkID(i))
		}
		for i, s := range tt.told {
			b.answered(linkID(i), answer{Master: letter("A"), HasInfo: true, Asked: epoch0.Add(-s.ago), Info: masterInfo{DownAfter: s.downAfter, Quorum: s.quorum}})
		}
		got := b.contact(false, letter("A"), 0, poll, tt.fixed)
		if tt.none != got.IsZero() || !tt.none && !got.Equal(epoch0.Add(tt.want)) {
			t.Errorf("%s: %v, want %v", tt.name, got.Sub(epoch0), tt.want)
		}
	}
}

// TestPace: three polls fit into a contact, whatever down-after is, and no group is asked more than ten times a second.
func TestPace(t *testing.T) {
	for _, downAfter := range []time.Duration{0, time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 5 * time.Second, time.Hour} {
		for _, poll := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
			p, contact := pace(poll, downAfter), blind(downAfter, 3*poll)
			if p > poll || 3*p > contact || p < fastPoll {
				t.Errorf("down-after %v, sentinel_poll %v: asked every %v, a contact lasts %v", downAfter, poll, p, contact)
			}
		}
	}
}

// TestSettings: one sentinel that tells another down-after changes nothing, whenever it speaks.
func TestSettings(t *testing.T) {
	cfg := Config{Lease: LeaseAuto}.withDefaults()
	var nodes nodeID
	g := newGroup("g1", &cfg, half, &nodes, func(Address) string { return "" }, epoch0)
	g.Step(epoch0, evElectorate{members: []linkID{1, 2, 3}})
	tell := func(link linkID, downAfter time.Duration, quorum int) {
		g.Step(epoch0, evAnswer{link: link, answer: answer{Group: "g1", Master: letter("A"), HasInfo: true, Asked: epoch0,
			Info: masterInfo{Address: letter("A"), DownAfter: downAfter, Quorum: quorum, Sentinels: 3}}})
	}
	tell(1, 5*time.Second, 2)
	tell(2, 5*time.Second, 2)
	before := g.view(epoch0)
	for _, lie := range []struct {
		downAfter time.Duration
		quorum    int
	}{{time.Millisecond, 1}, {time.Hour, 9}} {
		tell(3, lie.downAfter, lie.quorum)
		if after := g.view(epoch0); !before.alike(after) || after.DownAfter != 5*time.Second || after.Quorum != 2 {
			t.Errorf("%+v: down-after %v, quorum %d", lie, after.DownAfter, after.Quorum)
		}
	}
}
