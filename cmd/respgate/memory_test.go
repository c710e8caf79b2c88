package main

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestReclaimer: a collection follows what is worth one, at once the first time, and no oftener than reclaimEvery.
func TestReclaimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		r := &reclaimer{free: func() { runs.Add(1) }}
		want := func(n int64, when string) {
			t.Helper()
			synctest.Wait()
			if got := runs.Load(); got != n {
				t.Fatalf("%s: %d collections, want %d", when, got, n)
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
