package engine

import "time"

// moderation gathers events in the manner of network cards' interrupt moderation: after an iteration that had several, the
// loop rests for a moment before it looks again, so that the next one has more to do. One wake-up, one read and one write
// then serve many requests, here and on the servers, which is most of what a request costs.
//
// It never delays a lone request: without company there is no rest. Nor does it rest when little would arrive meanwhile
// (the rate of replies says so), or when an iteration moved so many bytes that the sockets' buffers would fill.
type moderation struct {
	rest   time.Duration // 0 = never
	rate   float64       // replies per second, a moving average over about rateWindow
	since  int64         // of the count
	served uint64        // the loop's replies at since
}

const (
	// DefaultBatch is how long a busy loop rests. The kernel's timer slack adds about 50 us to it.
	DefaultBatch = 50 * time.Microsecond

	restEvents   = 2          // an iteration with fewer was a lone request
	restArrivals = 2          // replies expected during a rest, for it to pay
	restBytes    = 128 << 10  // read in one iteration: beyond it the loop goes on at once
	rateWindow   = int64(1e6) // ns over which replies are counted
)

// due reports whether the loop should rest after an iteration of n events that read so many bytes.
func (m *moderation) due(now int64, n int, served uint64, bytes int) bool {
	if m.rest == 0 {
		return false
	}
	if span := now - m.since; span >= rateWindow {
		m.rate += (float64(served-m.served)*1e9/float64(span) - m.rate) / 2
		m.since, m.served = now, served
	}
	return n >= restEvents && bytes < restBytes && m.rate*m.rest.Seconds() >= restArrivals
}
