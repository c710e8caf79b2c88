package report

// EventKind is what happened to the data plane's way to a master.
type EventKind uint8

const (
	EventLinkUp       EventKind = iota // connected, authenticated, ROLE says master
	EventLinkLost                      // an established link broke
	EventDialFailed                    // a link could not be established
	EventDemoted                       // the node is no master: ROLE or -READONLY says so
	EventTimeout                       // requests went without a reply for the pool's timeout
	EventAcceptFailed                  // no descriptor for a new client; accepting pauses
	EventResubscribed                  // a client's subscriptions are in place again after its link was lost
)

var eventNames = [...]string{"link-up", "link-lost", "dial-failed", "demoted", "timeout", "accept-failed", "resubscribed"}

func (k EventKind) String() string { return eventNames[k] }

// Event is a sign from the data plane to control. It is a hint, not a decision: the master of a group is Sentinel's word.
type Event struct {
	Kind       EventKind
	Pool       string
	Group      string
	Master     string // host:port the link was for
	Generation uint64
	Cause      string
}
