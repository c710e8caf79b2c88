package engine

import (
	"testing"
	"time"
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
