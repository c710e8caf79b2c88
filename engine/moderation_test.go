package engine

import (
	"testing"
	"time"

	"respgate/engine/topology"
)

const most = 150 * time.Microsecond

// iterate runs k iterations of n events each and returns the rest after the last one.
func (m *moderation) iterate(k, n, waiting int) (rest time.Duration) {
	for range k {
		rest = m.after(n, waiting, false, most)
	}
	return rest
}

func TestModerationRestsWithTheClientsThatWait(t *testing.T) {
	for _, c := range []struct {
		waiting int
		want    time.Duration
	}{
		{0, 0}, {1, 0}, {restClients - 1, 0},
		{restClients, restClients * restEach},
		{28, 28 * restEach},
		{50, most}, {10000, most},
	} {
		var m moderation
		if got := m.iterate(10, 5, c.waiting); got != c.want {
			t.Errorf("%d clients wait: it rests %v, want %v", c.waiting, got, c.want)
		}
	}
}

func TestModerationIsSwitchedOff(t *testing.T) {
	var m moderation
	if got := m.after(10, 1000, false, 0); got != 0 || m.rested {
		t.Errorf("with batch: 0 it rests %v", got)
	}
}

func TestModerationGoesOnWhereMoreIsToRead(t *testing.T) {
	var m moderation
	if got := m.after(10, 1000, true, most); got != 0 {
		t.Errorf("it rests %v before what it has not read", got)
	}
}

// Between the replies and the next requests of the same clients nobody waits; that is no end of the load.
func TestModerationRemembersForAFewIterations(t *testing.T) {
	var m moderation
	m.iterate(1, 50, 50)
	if got := m.iterate(1, 50, 0); got == 0 {
		t.Error("one iteration without waiting clients made it forget 50 of them")
	}
	if got := m.iterate(200, 5, 1); got != 0 {
		t.Errorf("it still rests %v although one client has been alone for 200 iterations", got)
	}
}

func TestModerationStopsWhereItGathersNothing(t *testing.T) {
	var m moderation
	rests := 0
	for range 10000 {
		if m.after(1, 30, false, most) > 0 {
			rests++
		}
	}
	if rests > 20 {
		t.Errorf("%d of 10,000 iterations rested although each found one event", rests)
	}
	for range maxOff + 1 {
		m.after(30, 30, false, most)
	}
	if rest := m.iterate(2, 30, 30); rest != most {
		t.Errorf("it rests %v once rests gather again", rest)
	}
}

// TestBusyLoopRests: the loops take the rest from the snapshot, and count those who wait for a server.
func TestBusyLoopRests(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1"}, set(func(s *topology.Settings) { s.Timeout = patience }))
		r.servers["g1"].on(func(c *fakeConn, args []string) (string, bool) { return "", !isGreeting(args) }) // no answer
		crowd := func() {
			for range 2 * restClients * v.loops {
				r.dial().send(req("GET", "k"))
			}
		}
		crowd()
		until(t, "all of them wait", func() bool { return r.stats("g1").Inflight == 2*restClients*v.loops })
		if n := r.rests(); n != 0 {
			t.Errorf("with batch: 0 the loops rested %d times", n)
		}
		r.apply(func(s *topology.Snapshot) { s.Limits.Batch = 100 * time.Microsecond })
		crowd()
		until(t, "the loops rest", func() bool { return r.rests() > 0 })
	})
}

// TestHoldMakesNobodyRest: clients of a group on hold are no reason to let those of another wait.
func TestHoldMakesNobodyRest(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		r := newRig(t, v, []string{"g1", "g2"}, set(func(s *topology.Settings) { s.HoldTimeout = patience }))
		r.apply(func(s *topology.Snapshot) {
			s.Limits.Batch = 100 * time.Microsecond
			s.Pools[0].Groups[0].Hold = true
		})
		for range 2 * restClients * v.loops {
			r.dial().send(req("GET", r.key("g1", 0)))
		}
		until(t, "all of them wait", func() bool { return r.stats("g1").Held == 2*restClients*v.loops })
		a := r.dial()
		for range 100 {
			a.do("+OK\r\n", "SET", r.key("g2", 0), "v")
		}
		if n := r.rests(); n != 0 {
			t.Errorf("the loops rested %d times", n)
		}
	})
}

// rests is how often the loops have rested.
func (r *rig) rests() (n uint64) {
	for _, l := range r.e.Stats().Loops {
		n += l.Rests
	}
	return n
}
