package engine

import (
	"unsafe"

	"respgate/engine/buffer"
)

const (
	trimEvery = int64(2e9) // how often what nobody needs is let go
	keepFree  = 1024       // free requests kept by trim
)

// Large is the size beyond which scratch memory is not kept.
const Large = buffer.Large

// trim lets go what a burst left behind and nobody has needed since the last trim. It is the garbage collector's then,
// which does not come by itself where nothing is allocated: Options.Trimmed is told.
func (l *loop) trim(now int64) {
	if l.tight {
		l.unstall(l.share())
		l.wheel.Set(&l.trimTimer, now+tightPoll)
		return
	}
	l.early.Idle()
	for _, p := range l.pools {
		for _, g := range p.groups {
			g.idle(now)
		}
	}
	dropped := l.bufs.Trim()
	l.eng.trimmed.Add(dropped)
	dropped += l.trimRequests() + l.slots.takeDropped()
	l.freeSplits = nil
	if cap(l.dirtyClients) > 1024 && len(l.dirtyClients) == 0 {
		l.dirtyClients = nil
	}
	if cap(l.batch) > Large {
		l.batch = nil
	}
	if dropped > 0 && l.eng.opts.Trimmed != nil {
		l.eng.opts.Trimmed(dropped)
	}
	l.wheel.Set(&l.trimTimer, now+trimEvery)
}

// trimRequests lets unused free requests go, if they are many, and returns their bytes. They were made in batches, so it
// is after the burst, when all are free, that they leave for good.
func (l *loop) trimRequests() (dropped int64) {
	for l.freeLow > keepFree {
		r := l.freeRequests
		l.freeRequests, r.nextClient = r.nextClient, nil // one that lives on must not keep the others
		l.freeLow--
		l.freeCount--
		dropped += int64(unsafe.Sizeof(request{}))
	}
	l.freeLow = l.freeCount
	return dropped
}
