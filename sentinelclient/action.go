package sentinelclient

import (
	"fmt"
	"log/slog"
	"strings"
)

// linkID names a link for as long as the monitor lives; a sentinel that is
// configured anew gets another one.
type linkID uint32

// wireID names one connection to a sentinel. What arrives under an ID that the
// link no longer has is dropped.
type wireID uint64

// nodeID names the control link to one node, likewise.
type nodeID uint64

// action is what a machine wants done. The monitor carries out those of wires,
// nodes and notes; links tell the rest to the pool, which tells the groups.
type action interface{ String() string }

type (
	// dial opens a connection to the sentinel of a link.
	dial struct {
		link linkID
		wire wireID
		to   Address
	}
	// send writes one request on a connection.
	send struct {
		wire wireID
		args []string
	}
	// hangUp closes a connection, dialed or still dialing.
	hangUp struct{ wire wireID }

	// ask sends ROLE to a node, dialing it first if need be.
	ask struct {
		node  nodeID
		group string
		to    Address
		hasty bool // requests wait for it: a lost SYN is not waited for
		acks  bool // its replicas may have to vouch for it (witness.go)
	}
	// drop closes the control link to a node.
	drop struct{ node nodeID }

	// query asks every sentinel for a group's master.
	query struct{ group string }

	// note is a line for the log. Complaints are told once a minute.
	note struct {
		level     slog.Level
		text      string
		complaint bool
		attrs     []slog.Attr
	}
)

// What a link tells the pool.
type (
	// answered: the sentinel said who the master of a group is.
	answered struct {
		link   linkID
		answer answer
	}
	// heard: an event of the sentinel that names a group.
	heard struct {
		link  linkID
		event event
	}
	// identified: the link's sentinel is another process than before.
	identified struct{ link linkID }
	// tilted: the sentinel entered or left tilt mode.
	tilted struct {
		link linkID
		on   bool
	}
	// watching: every group was answered, the link is complete.
	watching struct{ link linkID }
	// lost: the link failed; its sentinel's answers are void.
	lost struct {
		link  linkID
		cause string
	}
)

func (a dial) String() string       { return fmt.Sprintf("dial wire %d to %v", a.wire, a.to) }
func (a hangUp) String() string     { return fmt.Sprintf("hang up wire %d", a.wire) }
func (a ask) String() string        { return fmt.Sprintf("ask node %d at %v", a.node, a.to) }
func (a drop) String() string       { return fmt.Sprintf("drop node %d", a.node) }
func (a query) String() string      { return "query " + a.group }
func (a heard) String() string      { return fmt.Sprintf("heard %s of %q", a.event.name, a.event.group) }
func (a identified) String() string { return "identified" }
func (a tilted) String() string     { return fmt.Sprintf("tilt %v", a.on) }
func (a watching) String() string   { return "watching" }
func (a lost) String() string       { return "lost: " + a.cause }

// String hides what follows AUTH.
func (a send) String() string {
	args := a.args
	if len(args) > 0 && args[0] == "AUTH" {
		args = []string{"AUTH", "***"}
	}
	return fmt.Sprintf("send wire %d: %s", a.wire, strings.Join(args, " "))
}

func (a note) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "note %v: %s", a.level, a.text)
	for _, at := range a.attrs {
		fmt.Fprintf(&b, " %s=%q", at.Key, at.Value.String())
	}
	return b.String()
}

func (a answered) String() string {
	w := a.answer
	if w.Unknown {
		return fmt.Sprintf("answered %s: unknown", w.Group)
	}
	s := fmt.Sprintf("answered %s: %v epoch %d", w.Group, w.Master, w.Info.Epoch)
	if w.Torn {
		s += " torn"
	}
	return s
}

// actions is the list that a step fills.
type actions struct{ list []action }

func (o *actions) add(a action) { o.list = append(o.list, a) }

func (o *actions) take() []action {
	list := o.list
	o.list = nil
	return list
}
