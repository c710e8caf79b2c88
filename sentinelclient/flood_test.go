package sentinelclient

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestFloodInVirtualTime: 100,000 events within ten seconds, of every kind and
// from three sentinels, cost each of them ten queries a second at most, and what
// the sentinels say meanwhile is followed all the same.
func TestFloodInVirtualTime(t *testing.T) {
	t.Parallel()
	s := &sim{t: t, sentinels: map[Address]*simSentinel{}, nodes: map[Address]verdict{}, wires: map[wireID]*simSentinel{}, told: map[string]time.Time{}}
	s.clock.now = epoch0
	for _, line := range []string{"say 1,2,3 g1 A 1", "say 1,2,3 g2 C 1", "node A master", "node B master", "node C master"} {
		s.change(words(line))
	}
	cfg := Config{Pool: "p", Lease: LeaseAuto, Groups: []string{"g1", "g2"}}
	for _, name := range []string{"1", "2", "3"} {
		cfg.Sentinels = append(cfg.Sentinels, Sentinel{Address: sentinelAddress(name)})
	}
	s.p = newPool(cfg, half, s.clock.now)
	s.carry(s.p.out.take())
	s.advance(3 * time.Second)
	s.queries = map[*simSentinel][]time.Time{}

	named := slices.DeleteFunc(slices.Clone(eventNames), nameless)
	const events, lasts = 100_000, 10 * time.Second
	begin, told, followed := s.clock.now, time.Time{}, time.Time{}
	for i := range events {
		s.advance(begin.Add(lasts * time.Duration(i) / events).Sub(s.clock.now))
		channel := named[i%len(named)]
		payload := "master g1 A 1"
		if channel == "+switch-master" {
			payload = "g1 A 1 B 1"
		}
		s.publish(s.sentinel(fmt.Sprint(i%3+1)), channel, payload)
		if i == events/2 {
			told = s.clock.now
			s.change(words("say 2,3 g1 B 2"))
		}
		if followed.IsZero() && s.p.groups["g1"].master == letter("B") {
			followed = s.clock.now
		}
	}
	if late := followed.Sub(told); followed.IsZero() || late > 2*fastPoll {
		t.Errorf("what was told after %v was followed %v later", told.Sub(begin), late)
	}
	for sn, asked := range s.queries {
		of := len(asked)
		if of == 0 {
			t.Error("a sentinel was not asked at all")
		}
		for i := queryBurst + 2; i < of; i++ { // two groups, of which the other one has its poll alone
			if within := asked[i].Sub(asked[i-queryBurst-2]); within < queryWindow {
				t.Fatalf("sentinel %p: %d queries of two groups within %v", sn, queryBurst+3, within)
			}
		}
		if most := (queryBurst + 2) * int(lasts/time.Second); of > most {
			t.Errorf("%d queries in %v, want at most %d", of, lasts, most)
		}
	}
}
