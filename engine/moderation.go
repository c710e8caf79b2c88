package engine

import "time"

// moderation gathers events in the manner of network cards' interrupt moderation: a busy loop rests for a moment before it
// looks at its sockets again, so that it finds more of them ready. One wake-up, one read and one write then serve many
// requests, here and on the servers, which is most of what a request costs.
//
// It never delays a lone request: it rests only while many clients wait, the longer the more of them. They wait for each
// other anyway, and a rest is a fraction of that. Nor does it rest when a socket has more than was read of it, and it goes
// on without for a while when it finds that rests gather nothing.
type moderation struct {
	around int  // clients that wait for a server, at the highest of late; slowly forgotten
	rested bool // before the events that are being handled
	vain   int  // rests in a row that gathered nothing
	off    int  // iterations to go without a rest
	rests  uint64
}

const (
	restClients = 24                   // with fewer waiting, a rest costs latency and gathers too little
	restEach    = 5 * time.Microsecond // of rest for each client that waits: a fraction of what a request costs the loop
	restVain    = 4                    // rests in a row that gather nothing, before it goes on without
	restEvents  = 2                    // a rest that was followed by fewer gathered nothing
	maxOff      = 1 << 12              // iterations without a rest, at most: 16 at first, doubled each time
)

// after returns how long to rest after an iteration of n events, with so many clients waiting for servers; backlog says that a socket
// was not read to its end. The kernel's timer slack, 50 us, comes on top.
func (m *moderation) after(n, waiting int, backlog bool, most time.Duration) time.Duration {
	m.judge(n)
	if waiting >= m.around {
		m.around = waiting
	} else {
		m.around -= (m.around - waiting + 31) / 32
	}
	if backlog || m.around < restClients {
		return 0
	}
	if m.off > 0 {
		m.off--
		return 0
	}
	if most > 0 {
		m.rested = true
		m.rests++
	}
	return min(most, restEach*time.Duration(m.around))
}

// judge learns from the number of events that a rest has gathered.
func (m *moderation) judge(n int) {
	switch {
	case !m.rested:
	case n >= restEvents:
		m.vain = 0
	default:
		m.vain++
		if m.vain >= restVain {
			m.off = min(16<<min(m.vain-restVain, 16), maxOff)
		}
	}
	m.rested = false
}
