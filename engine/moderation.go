package engine

import "time"

// moderation gathers events in the manner of network cards' interrupt moderation: after an iteration that had several, the
// loop rests for a moment before it looks again, so that the next one has more to do. One wake-up, one read and one write
// then serve many requests, here and on the servers, which is most of what a request costs.
//
// It never delays a lone request, and rests only while so many are in flight that they wait for each other anyway: with
// few, the rest would be most of the time that a request takes. Nor does it rest when an iteration moved so many bytes
// that the sockets' buffers would fill meanwhile.
type moderation struct {
	rest time.Duration // 0 = never
}

const (
	// DefaultBatch is how long a busy loop rests. The kernel's timer slack adds about 50 us to it.
	DefaultBatch = 50 * time.Microsecond

	restEvents   = 2         // an iteration with fewer was a lone request
	restInflight = 8         // requests of the loop that servers have yet to answer
	restBytes    = 128 << 10 // read in one iteration: beyond it the loop goes on at once
)

// due reports whether the loop should rest after an iteration of n events that read so many bytes, with so many requests
// in flight.
func (m *moderation) due(n, inflight, bytes int) bool {
	return m.rest > 0 && n >= restEvents && inflight >= restInflight && bytes < restBytes
}
