package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestReclaimer: a collection follows what is worth one, at once the first time, and no oftener than reclaimEvery.
func TestReclaimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		r := &reclaimer{free: func() { runs++ }}
		want := func(n int, when string) {
			t.Helper()
			synctest.Wait()
			if runs != n {
				t.Fatalf("%s: %d collections, want %d", when, runs, n)
			}
		}
		r.trimmed(reclaimLeast - 1)
		want(0, "little was let go")
		r.trimmed(1)
		want(1, "enough was let go")
		for range 10 {
			r.trimmed(reclaimLeast)
		}
		want(1, "more was let go right behind")
		<-time.After(reclaimEvery - 1)
		want(1, "before the time")
		<-time.After(1)
		want(2, "after the time, without another word")
		<-time.After(2 * reclaimEvery)
		want(2, "nothing was let go since")
		r.trimmed(reclaimLeast)
		want(3, "enough was let go much later")
		<-time.After(reclaimEvery)
	})
}
