// Package timer is a hashed timer wheel: setting, moving and stopping a timer cost the same whatever their number.
// One event loop owns a wheel; times are nanoseconds of its monotonic clock.
package timer

import "math/bits"

// Resolution is the width of a slot in nanoseconds: a timer fires up to this much late, never early.
const Resolution = int64(4e6)

const slots = 1024 // one turn is 4.1 s; longer timers pass their slot more than once

// Timer fires Func once at its time. The zero value with a Func is ready; it may be set again from within Func.
type Timer struct {
	Func       func(now int64)
	when       int64
	slot       int32 // 1 + slot while set
	next, prev *Timer
}

// Set reports whether the timer is waiting to fire.
func (t *Timer) Set() bool { return t.slot != 0 }

// When is the time it was last set for.
func (t *Timer) When() int64 { return t.when }

// Wheel holds the timers of a loop.
type Wheel struct {
	heads [slots]*Timer
	used  [slots / 64]uint64 // bit per slot that holds a timer
	tick  int64              // the next slot to serve, in units of Resolution
	count int
}

// New returns a wheel whose time is now.
func New(now int64) *Wheel { return &Wheel{tick: now / Resolution} }

// Len is the number of timers set.
func (w *Wheel) Len() int { return w.count }

// Set makes t fire at when, or as soon as possible if that has passed; a timer that was set moves.
func (w *Wheel) Set(t *Timer, when int64) {
	w.Stop(t)
	t.when = when
	tick := max((when+Resolution-1)/Resolution, w.tick)
	s := int(tick % slots)
	t.slot = int32(s) + 1
	t.next = w.heads[s]
	if t.next != nil {
		t.next.prev = t
	}
	w.heads[s] = t
	w.used[s/64] |= 1 << (s % 64)
	w.count++
}

// Stop makes sure that t does not fire.
func (w *Wheel) Stop(t *Timer) {
	if t.slot == 0 {
		return
	}
	s := int(t.slot - 1)
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.heads[s] = t.next
		if t.next == nil {
			w.used[s/64] &^= 1 << (s % 64)
		}
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.slot = nil, nil, 0
	w.count--
}

// Advance fires what is due at now.
func (w *Wheel) Advance(now int64) {
	last := now / Resolution
	// A loop that was stopped for longer than a turn serves each slot once, and the one that is the next to come then.
	n := min(last-w.tick+1, slots-1)
	// First, so that what a Func sets for a time that has passed goes to the next Advance: neither behind, where it would
	// wait for a turn, nor into the slot being served, which might never end.
	w.tick = max(w.tick, last+1)
	for ; n > 0 && w.count > 0; n-- {
		w.fire(int((last-n+1)%slots), now)
	}
}

func (w *Wheel) fire(s int, now int64) {
	if w.used[s/64]&(1<<(s%64)) == 0 {
		return
	}
	// Func may set and stop timers of this slot: what is due is taken out first, one at a time, from the head.
	for {
		var due *Timer
		for t := w.heads[s]; t != nil; t = t.next {
			if t.when <= now {
				due = t
				break
			}
		}
		if due == nil {
			return
		}
		w.Stop(due)
		due.Func(now)
	}
}

// Next is the time at which Advance has something to do, or -1. It may be early for timers more than a turn away.
func (w *Wheel) Next() int64 {
	if w.count == 0 {
		return -1
	}
	start := int(w.tick % slots)
	for i := 0; i <= len(w.used); i++ {
		word := (start/64 + i) % len(w.used)
		set := w.used[word]
		switch i {
		case 0:
			set &= ^uint64(0) << (start % 64)
		case len(w.used):
			set &= 1<<(start%64) - 1
		}
		if set != 0 {
			s := word*64 + bits.TrailingZeros64(set)
			return (w.tick + int64((s-start+slots)%slots)) * Resolution
		}
	}
	return -1
}
