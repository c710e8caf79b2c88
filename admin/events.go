package admin

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

const (
	eventsShown = 10 // without COUNT
	timeFormat  = "2006-01-02T15:04:05.000Z07:00"
)

// proxyEvents is PROXY EVENTS [pool [group]] [COUNT n].
func proxyEvents(s *session, args []string) respconn.Value {
	shown := eventsShown
	if n := len(args) - 2; n >= 0 && strings.EqualFold(args[n], "count") {
		count, ok := respconn.ParseInt(args[n+1])
		if !ok || count <= 0 {
			return errNotInt
		}
		shown, args = int(count), args[:n]
	}
	pool, refusal, ok := s.poolOf(args)
	if !ok {
		return refusal
	}
	group := ""
	switch len(args) {
	case 0, 1:
	case 2:
		if group = args[1]; !s.server.status.HasGroup(pool, group) {
			return noGroup(pool, group)
		}
	default:
		return errSyntax
	}
	return listing(rowsOf(s.server.status.Events(pool, group, shown), eventRow, s.server.now()))
}

func infoEvents(s *session, d *document) {
	d.table(rowsOf(s.server.status.Events("", "", eventsShown), eventRow, s.server.now()),
		"id", "at", "event", "pool", "group", "source", "old", "new", "sign-ms", "decided-ms", "verified-ms", "applied-ms", "released-ms", "held", "failed", "cause")
}

// eventSigns is how many fields of eventRow are known at the first sign.
const eventSigns = 8

func eventRow(e status.Event, _ time.Time) row {
	return row{
		{"event", e.Event},
		{"id", counter(e.ID)},
		{"pool", e.Pool},
		{"group", e.Group},
		{"at", e.At.UTC().Format(timeFormat)},
		{"source", e.Source},
		{"cause", e.Cause},
		{"old", e.Old},
		{"new", e.New},
		{"config-epoch", counter(e.Epoch)},
		{"generation", counter(e.Generation)},
		{"sign", e.FailoverSign},
		{"sign-ms", after(e.Sign)},
		{"decided-ms", after(e.Decided)},
		{"verified-ms", after(e.Verified)},
		{"applied-ms", after(e.Applied)},
		{"released-ms", after(e.Released)},
		{"held", counter(e.Held)},
		{"held-most", count(e.HeldMost)},
		{"retried", counter(e.Retried)},
		{"failed", counter(e.Unknown + e.HoldFull + e.HoldTimeouts + e.Timeouts)},
		{"failed-unknown-outcome", counter(e.Unknown)},
		{"failed-hold-full", counter(e.HoldFull)},
		{"failed-hold-timeout", counter(e.HoldTimeouts)},
		{"failed-timeout", counter(e.Timeouts)},
		{"replies-dropped", counter(e.Late)},
		{"repeats", counter(e.Repeats)},
		{"votes", rowsOf(e.Votes, voteRow, time.Time{})},
	}
}

func voteRow(v status.Vote, _ time.Time) row {
	return row{{"sentinel", v.Sentinel}, {"master", v.Master}, {"epoch", counter(v.Epoch)}, {"state", v.State}}
}

// after is a time since the first sign in milliseconds.
func after(d time.Duration) int64 {
	if d < 0 {
		return never
	}
	return d.Milliseconds()
}

// message is the event as subscribers get it: of one that begins, what is known.
func message(e status.Event) (string, error) {
	r := eventRow(e, time.Time{})
	if e.Event == status.Holding {
		r = r[:eventSigns]
	}
	b, err := r.MarshalJSON()
	if err != nil {
		return "", err
	}
	var line bytes.Buffer
	err = json.Compact(&line, b)
	return line.String(), err
}

// MarshalJSON is an object with the keys in their order.
func (r row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, f := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(f.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(f.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
