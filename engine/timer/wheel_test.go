package timer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const ms = int64(1e6)

// turn is one turn of the wheel.
const turn = slots * Resolution

type fired struct{ at, when int64 }

func newTimer(log *[]fired) *Timer {
	t := &Timer{}
	t.Func = func(now int64) { *log = append(*log, fired{now, t.When()}) }
	return t
}

func TestFiresOnceAndNeverEarly(t *testing.T) {
	for _, delay := range []int64{1, ms, Resolution - 1, Resolution, Resolution + 1, 50 * ms, turn - 1, turn, turn + 1, 3*turn + 5} {
		for _, start := range []int64{0, 1, 7*Resolution - 1, 1e9} {
			var log []fired
			w := New(start)
			timer := newTimer(&log)
			w.Set(timer, start+delay)
			for now := start; now <= start+delay+3*Resolution; now += ms / 2 {
				w.Advance(now)
			}
			if len(log) != 1 || log[0].at < start+delay || log[0].at > start+delay+Resolution+ms {
				t.Errorf("start %d, delay %d: fired %+v", start, delay, log)
			}
			if timer.Set() || w.Len() != 0 || w.Next() != -1 {
				t.Errorf("start %d, delay %d: still set afterwards", start, delay)
			}
		}
	}
}

// TestLongStall: a loop that did not run for many turns fires everything that is due at once, and nothing else.
func TestLongStall(t *testing.T) {
	for _, stall := range []int64{turn - Resolution, turn, turn + Resolution, 10 * turn, 3600e9} {
		var log []fired
		w := New(0)
		for i := int64(1); i <= 2*slots; i++ {
			w.Set(newTimer(&log), i*Resolution)
		}
		far := newTimer(&log)
		w.Set(far, stall+turn)
		due := 0
		for i := int64(1); i <= 2*slots; i++ {
			if i*Resolution <= stall {
				due++
			}
		}
		w.Advance(stall)
		w.Advance(stall + Resolution) // the slot that is a whole turn behind is the next one
		early := 0
		for _, f := range log {
			if f.when > f.at {
				early++
			}
		}
		if len(log) < due || early > 0 || !far.Set() {
			t.Errorf("stall of %d ms: %d fired, want %d; %d early; the far timer is set: %v", stall/ms, len(log), due, early, far.Set())
		}
	}
}

func TestMoveAndStop(t *testing.T) {
	var log []fired
	w := New(0)
	a, b, c := newTimer(&log), newTimer(&log), newTimer(&log)
	w.Set(a, 10*ms)
	w.Set(b, 10*ms)
	w.Set(c, 10*ms)
	w.Set(a, 30*ms) // moves
	w.Stop(b)
	w.Stop(b) // of a timer that is not set
	if w.Len() != 2 {
		t.Errorf("Len %d, want 2", w.Len())
	}
	w.Advance(20 * ms)
	w.Advance(40 * ms)
	if want := []fired{{20 * ms, 10 * ms}, {40 * ms, 30 * ms}}; !slices.Equal(log, want) {
		t.Errorf("fired %v, want %v", log, want)
	}
}

// TestChangesWithinFunc: what a Func does to other timers of its slot, and to its own, counts at once.
func TestChangesWithinFunc(t *testing.T) {
	w := New(0)
	var order []string
	var a, b, c Timer
	a.Func = func(now int64) {
		order = append(order, "a")
		w.Stop(&b)
		w.Set(&c, now) // was due; is due again
	}
	b.Func = func(int64) { order = append(order, "b") }
	c.Func = func(int64) { order = append(order, "c") }
	w.Set(&c, 5*ms)
	w.Set(&b, 5*ms)
	w.Set(&a, 5*ms) // the last one set is the first one served
	w.Advance(100 * ms)
	if !slices.Equal(order, []string{"a"}) {
		t.Fatalf("order %v, want a alone: it stopped b and put c off", order)
	}
	w.Advance(100*ms + Resolution)
	if !slices.Equal(order, []string{"a", "c"}) {
		t.Errorf("order %v, want c at the next Advance", order)
	}
}

// TestPastTimesWithinFunc: a timer that is set for a time that has passed, while slots are being caught up with, fires at the
// next Advance: neither a turn later nor over and over again within this one.
func TestPastTimesWithinFunc(t *testing.T) {
	for _, stall := range []int64{Resolution, 10 * Resolution, turn, 5 * turn} {
		for _, back := range []int64{0, 1, Resolution, 3 * Resolution, turn} {
			w := New(0)
			count := 0
			var again Timer
			again.Func = func(now int64) {
				count++
				w.Set(&again, max(0, now-back))
			}
			w.Set(&again, Resolution)
			for i := int64(0); i < 5; i++ {
				now := stall + i*2*Resolution
				w.Advance(now)
				if next := w.Next(); next < now || next > now+Resolution {
					t.Fatalf("stall %d, back %d: next is %d at %d", stall, back, next, now)
				}
			}
			if count < 4 || count > 5 {
				t.Errorf("stall %d ms, set %d ms back: fired %d times in 5 advances", stall/ms, back/ms, count)
			}
		}
	}
}

// TestNextDoesNotSpin: a loop that sleeps until Next wakes up for a timer that is hours away once per turn, not all the time.
func TestNextDoesNotSpin(t *testing.T) {
	var log []fired
	w := New(0)
	w.Set(newTimer(&log), 3600e9)
	now, wakes := int64(0), 0
	for len(log) == 0 {
		next := w.Next()
		if next < now {
			t.Fatalf("Next is %d at %d", next, now)
		}
		now = max(next, now+1)
		w.Advance(now)
		wakes++
		if wakes > 2000 {
			t.Fatalf("%d wake-ups by %d s", wakes, now/1e9)
		}
	}
	if log[0].at < 3600e9 || log[0].at > 3600e9+Resolution {
		t.Errorf("fired at %d", log[0].at)
	}
}

// TestModel compares the wheel with a list that is searched from end to end.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.Int64Range(0, 10*turn).Draw(t, "start")
		w := New(now)
		timers := make([]Timer, 12)
		due := map[int]int64{} // by timer: when
		got := map[int]bool{}
		for i := range timers {
			timers[i].Func = func(at int64) {
				if when, ok := due[i]; !ok || when > at {
					t.Fatalf("timer %d fired at %d; due: %v, %d", i, at, ok, when)
				}
				delete(due, i)
				got[i] = true
			}
		}
		any := rapid.IntRange(0, len(timers)-1)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				i := any.Draw(t, "timer")
				due[i] = max(0, now+rapid.Int64Range(-2*Resolution, 3*turn).Draw(t, "delay"))
				w.Set(&timers[i], due[i])
			},
			"stop": func(t *rapid.T) {
				i := any.Draw(t, "timer")
				w.Stop(&timers[i])
				delete(due, i)
			},
			"advance": func(t *rapid.T) {
				now += rapid.OneOf(rapid.Int64Range(0, 3*Resolution), rapid.Int64Range(0, 2*turn)).Draw(t, "by")
				clear(got)
				w.Advance(now)
				w.Advance(now + Resolution) // up to this much late
				now += Resolution
				for i, when := range due {
					if when <= now-2*Resolution {
						t.Fatalf("timer %d, due at %d, has not fired by %d", i, when, now)
					}
				}
			},
			"": func(t *rapid.T) {
				if w.Len() != len(due) {
					t.Fatalf("%d timers set, want %d", w.Len(), len(due))
				}
				next := w.Next()
				if (next < 0) != (len(due) == 0) {
					t.Fatalf("Next %d with %d timers set", next, len(due))
				}
				for i, when := range due {
					if !timers[i].Set() || timers[i].When() != when {
						t.Fatalf("timer %d is set for %d, want %d", i, timers[i].When(), when)
					}
					if late := next - max(when, now); late > Resolution {
						t.Fatalf("Next is %d, timer %d is due at %d", next, i, when)
					}
				}
			},
		})
	})
}

func TestAllocatesNothing(t *testing.T) {
	w := New(0)
	timer := Timer{Func: func(int64) {}}
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		w.Set(&timer, now+ms)
		now += 2 * Resolution
		w.Advance(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
