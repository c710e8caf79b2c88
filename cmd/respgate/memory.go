package main

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// reclaimer gives memory that the data plane has let go back to the operating system. The garbage collector would come for
// it minutes later only: a proxy that allocates nothing per request gives it no reason to run.
type reclaimer struct {
	free    func() // collects the garbage and returns what is free
	loose   atomic.Int64
	resting atomic.Bool // from one collection until reclaimEvery later
}

const (
	reclaimLeast = 1 << 20          // bytes let go that are worth a collection
	reclaimEvery = 20 * time.Second // between two: what a burst took and the next one will take is cheaper kept
)

func newReclaimer() *reclaimer { return &reclaimer{free: debug.FreeOSMemory} }

// trimmed takes note of bytes that were let go. Called from event loops: it does not wait.
func (r *reclaimer) trimmed(bytes int64) {
	if r.loose.Add(bytes) >= reclaimLeast && r.resting.CompareAndSwap(false, true) {
		go r.reclaim()
	}
}

func (r *reclaimer) reclaim() {
	r.loose.Store(0)
	r.free()
	time.AfterFunc(reclaimEvery, func() {
		r.resting.Store(false)
		r.trimmed(0)
	})
}
