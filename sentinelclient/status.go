package sentinelclient

import "time"

// SentinelState is how far the link to a sentinel is.
type SentinelState uint8

const (
	// SentinelStandby: not linked, because one link is all there may be.
	SentinelStandby SentinelState = iota
	// SentinelDialing: connecting.
	SentinelDialing
	// SentinelSubscribing: AUTH, HELLO and PSUBSCRIBE are on their way.
	SentinelSubscribing
	// SentinelResolving: subscribed; the masters are being asked for.
	SentinelResolving
	// SentinelWatching: every group was answered; PINGs keep the link.
	SentinelWatching
	// SentinelBackoff: the last attempt failed, the next one waits.
	SentinelBackoff
)

var sentinelStates = [...]string{"standby", "dialing", "subscribing", "resolving", "watching", "backoff"}

// String is the state as the console shows it.
func (s SentinelState) String() string {
	if int(s) < len(sentinelStates) {
		return sentinelStates[s]
	}
	return "invalid"
}

// SentinelStatus is one sentinel as the console shows it.
type SentinelStatus struct {
	Address
	State     SentinelState
	Active    bool
	LastPong  time.Time     // zero before the first
	Missed    int           // PINGs unanswered in a row
	RTT       time.Duration // of the last PING
	Rotations int           // how often it was left for another one
	Tilt      bool          // it says itself that its clock jumped; it has no vote
	Cause     string        // of the last failure; empty while watching
	Since     time.Time     // of State
	Events    uint64        // messages that named a group of ours
	Ignored   uint64        // messages that did not, or that made no sense
}
