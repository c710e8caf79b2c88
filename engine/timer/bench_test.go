package timer

import (
	"strconv"
	"testing"
)

// BenchmarkSet moves one of n timers: the deadline of a link's oldest request, again and again.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w, timers := filled(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.Set(&timers[i%n], int64(i%4096)*1e6)
			}
		})
	}
}

// BenchmarkAdvance lets time pass in steps of an iteration, with n timers set that fire and are set again.
func BenchmarkAdvance(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w, timers := filled(n)
			for i := range timers {
				t := &timers[i]
				t.Func = func(now int64) { w.Set(t, now+3e9) }
			}
			b.ReportAllocs()
			now := int64(0)
			for b.Loop() {
				now += 100e3
				w.Advance(now)
			}
		})
	}
}

// BenchmarkNext asks for the next deadline, which every iteration does.
func BenchmarkNext(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w, _ := filled(n)
			b.ReportAllocs()
			for b.Loop() {
				w.Next()
			}
		})
	}
}

// filled is a wheel with n timers, within 3 s.
func filled(n int) (*Wheel, []Timer) {
	w, timers := New(0), make([]Timer, n)
	for i := range timers {
		timers[i].Func = func(int64) {}
		w.Set(&timers[i], 1e9+int64(i)*2e9/int64(n))
	}
	return w, timers
}
