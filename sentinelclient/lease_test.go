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

func TestContactEnd(t *testing.T) {
	heard := func(ago time.Duration, downAfter time.Duration) promise {
		return promise{Asked: epoch0.Add(-ago), DownAfter: downAfter}
	}
	const poll = time.Second
	tests := []struct {
		name       string
		configured int
		promises   []promise
		fixed      time.Duration
		want       time.Duration // after the start
		none       bool
	}{
		{"nobody", 3, nil, 0, 0, true},
		{"no sentinel is configured", 0, nil, 0, 0, true},
		{"a minority", 3, []promise{heard(0, 5*time.Second)}, 0, 0, true},
		{"the older one of two makes the majority", 3, []promise{heard(0, 5*time.Second), heard(time.Second, 5*time.Second)}, 0, 2 * time.Second, false},
		{"the oldest of three does not matter", 3, []promise{heard(0, 5*time.Second), heard(time.Hour, 5*time.Second), heard(time.Second, 5*time.Second)}, 0, 2 * time.Second, false},
		{"a down-after as short as a PING period: half of it", 1, []promise{heard(0, time.Second)}, 0, 500 * time.Millisecond, false},
		{"less than down-after by the time between two PINGs", 1, []promise{heard(0, 2500*time.Millisecond)}, 0, 1500 * time.Millisecond, false},
		{"the shortest down-after counts", 3, []promise{heard(0, 9*time.Second), heard(0, 3*time.Second)}, 0, 2 * time.Second, false},
		{"a down-after that no poll could keep up with", 1, []promise{heard(0, time.Millisecond)}, 0, 300 * time.Millisecond, false},
		{"unknown down-after", 1, []promise{heard(0, 0)}, 0, 3 * time.Second, false},
		{"fixed by the operator", 1, []promise{heard(time.Second, time.Second)}, 20 * time.Second, 19 * time.Second, false},
	}
	for _, tt := range tests {
		got := contactEnd(tt.configured, tt.promises, poll, tt.fixed)
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
