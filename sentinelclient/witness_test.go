package sentinelclient

import (
	"testing"
	"time"
)

// TestWitnesses: who vouches, until when, over a row of answers a second apart.
func TestWitnesses(t *testing.T) {
	b, c := letter("B"), letter("C")
	type told struct {
		offset   int64
		blunt    bool
		contact  bool
		replicas []replica
	}
	on := func(a Address, offset int64) replica { return replica{Address: a, Online: true, Offset: offset} }
	late := func(a Address, offset int64) replica {
		return replica{Address: a, Online: true, Offset: offset, Lag: 3 * time.Second}
	}
	tests := []struct {
		name   string
		counts int
		told   []told
		want   time.Duration // from the first answer, the window of 2.5 s included; 0: nobody ever vouched
	}{
		{"one answer proves nothing", 1, []told{{offset: 74, replicas: []replica{on(b, 74)}}}, 0},
		{"what was there before proves nothing", 1, []told{{offset: 74, replicas: []replica{on(b, 0)}}, {offset: 148, replicas: []replica{on(b, 74)}}}, 0},
		{"a byte that came after the answer does", 1, []told{{offset: 74, replicas: []replica{on(b, 0)}}, {offset: 148, replicas: []replica{on(b, 75)}}}, 2500 * time.Millisecond},
		{"a late one proves the answer before", 1, []told{{offset: 74}, {offset: 148}, {offset: 222, replicas: []replica{on(b, 111)}}}, 2500 * time.Millisecond},
		{"the last one of them", 1, []told{{offset: 74}, {offset: 148}, {offset: 222, replicas: []replica{on(b, 185)}}}, 3500 * time.Millisecond},
		{"the slower of two", 2, []told{{offset: 74}, {offset: 148}, {offset: 222, replicas: []replica{on(b, 185), on(c, 111)}}}, 2500 * time.Millisecond},
		{"one is missing", 2, []told{{offset: 74}, {offset: 148}, {offset: 222, replicas: []replica{on(b, 185)}}}, 0},
		{"one is no longer listed", 1, []told{{offset: 74, replicas: []replica{on(b, 0), on(c, 0)}}, {offset: 148, replicas: []replica{on(b, 111)}}}, 0},
		{"but was forgotten while the sentinels were heard", 1, []told{{offset: 74, replicas: []replica{on(b, 0), on(c, 0)}}, {offset: 148, contact: true, replicas: []replica{on(b, 111)}}}, 2500 * time.Millisecond},
		{"one is being synchronised", 1, []told{{offset: 74}, {offset: 148, replicas: []replica{{Address: b, Offset: 111}}}}, 0},
		{"another stream, which is shorter", 1, []told{{offset: 740}, {offset: 74, replicas: []replica{on(b, 800)}}}, 0},
		{"a stream that stands still: by the lag", 1, []told{{offset: 74}, {offset: 74, replicas: []replica{on(b, 0)}}}, 2500 * time.Millisecond},
		{"which is too long", 1, []told{{offset: 74}, {offset: 74, replicas: []replica{late(b, 0)}}}, 0},
		{"a master that asks nobody: by the lag", 1, []told{{offset: 74, blunt: true, replicas: []replica{on(b, 0)}}}, 1500 * time.Millisecond},
		{"which is too long, too", 1, []told{{offset: 74, blunt: true, replicas: []replica{late(b, 74)}}}, 0},
		{"no replica at all", 0, []told{{offset: 74, contact: true}, {offset: 74}}, 3500 * time.Millisecond},
		{"none, but there was one", 0, []told{{offset: 74, replicas: []replica{on(b, 0)}}, {offset: 148}}, 0},
		{"an answer without INFO is no sample", 1, []told{{offset: 74, replicas: []replica{on(b, 37)}}, {replicas: []replica{{Address: b}}}, {offset: 148, replicas: []replica{on(b, 37)}}}, 0},
		{"one that was proven is gone: no longer than that", 1, []told{{offset: 74}, {offset: 148, replicas: []replica{on(b, 111)}}, {offset: 222}}, 2 * time.Second},
		{"nobody has counted them", -1, []told{{offset: 74, contact: true}, {offset: 148, contact: true, replicas: []replica{on(b, 111)}}}, 0},
	}
	for _, tt := range tests {
		w := newWitnesses()
		w.counted(tt.counts)
		for i, a := range tt.told {
			w.reported(report{Asked: epoch0.Add(time.Duration(i) * time.Second), Offset: a.offset, Sharp: !a.blunt, Acks: true, Replicas: a.replicas}, replicaVouch, a.contact)
		}
		got := time.Duration(0)
		if !w.until.IsZero() {
			got = w.until.Sub(epoch0)
		}
		if got != tt.want {
			t.Errorf("%s: vouched for until %v, want %v", tt.name, got, tt.want)
		}
	}
}
