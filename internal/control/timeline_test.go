package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"respgate/internal/status"
	"respgate/sentinelclient"
)

// publish notes what is told at once; the timeline itself is asked for.
func (w *world) publish(e status.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = append(w.published, fmt.Sprintf("told: %d %s %s %s", e.ID, e.Event, e.Pool, e.Group))
}

// elect puts a word of a view into an election: signed, decided and taken are ages.
func elect(e *sentinelclient.Election, key, value string) error {
	at := map[string]*time.Time{"signed": &e.SignAt, "decided": &e.DecidedAt, "taken": &e.TakenAt}[key]
	switch {
	case at != nil:
		age, err := time.ParseDuration(value)
		*at = time.Now().Add(-age)
		return err
	case key == "sign":
		e.Sign = value
		return nil
	}
	for _, v := range strings.Split(value, ";") {
		sentinel, said, _ := strings.Cut(v, "/")
		a, err := sentinelclient.ParseAddress(sentinel)
		if err != nil {
			return err
		}
		vote := sentinelclient.Vote{Sentinel: a, State: said}
		if master, epoch, named := strings.Cut(said, "@"); named {
			if vote.Master, err = sentinelclient.ParseAddress(master); err != nil {
				return err
			}
			vote.State, vote.Epoch = "voted", uint64(number(epoch, 0))
		}
		e.Votes = append(e.Votes, vote)
	}
	return nil
}

// events are what was published since the last time, and the rows.
func (p *player) events(words []string, count int) (out []string) {
	p.w.mu.Lock()
	out, p.w.published = p.w.published, nil
	p.w.mu.Unlock()
	words = append(words, "", "")
	for _, e := range p.w.ctl.Events(words[0], words[1], count) {
		out = append(out, showEvent(e))
	}
	return out
}

func showEvent(e status.Event) string {
	s := fmt.Sprintf("%d %s %s %s at %s from %s: %s", e.ID, e.Event, e.Pool, e.Group, e.At.UTC().Format("05.000"), e.Source, e.Cause)
	if e.Event == status.Switched {
		s += fmt.Sprintf("\n  %s -> %s epoch %d generation %d", e.Old, e.New, e.Epoch, e.Generation)
	}
	step := func(name string, d time.Duration) string {
		if d == status.Unseen {
			return ""
		}
		return fmt.Sprintf(" %s=%v", name, d)
	}
	if steps := step("sign", e.Sign) + step("decided", e.Decided) + step("verified", e.Verified) + step("applied", e.Applied) + step("released", e.Released); steps != "" {
		s += "\n " + steps
		if e.FailoverSign != "" {
			s += " (" + e.FailoverSign + ")"
		}
	}
	for _, v := range e.Votes {
		s += fmt.Sprintf("\n  %s: %s '%s' at %d", v.Sentinel, v.State, v.Master, v.Epoch)
	}
	if n := e.Held + e.Retried + e.Unknown + e.HoldFull + e.HoldTimeouts + e.Timeouts + e.Late + e.Repeats; n > 0 {
		s += fmt.Sprintf("\n  held=%d most=%d retried=%d unknown=%d full=%d expired=%d timeouts=%d dropped=%d repeats=%d",
			e.Held, e.HeldMost, e.Retried, e.Unknown, e.HoldFull, e.HoldTimeouts, e.Timeouts, e.Late, e.Repeats)
	}
	return s
}

// line is a timeline whose events have numbers.
type line struct {
	timeline
	last uint64
}

func (l *line) put(kind, group, cause string, at time.Duration) status.Event {
	l.last++
	return l.add(status.Event{ID: l.last, Event: kind, Group: group, Cause: cause, At: time.Unix(1e9, 0).Add(at)})
}

// count gives the events of a kind, and the oldest of them.
func (l *line) count(kind string) (n int, oldest uint64) {
	for _, e := range slices.Backward(l.events) {
		if e.Event == kind {
			n, oldest = n+1, e.ID
		}
	}
	return n, oldest
}

// TestTimelineIsBounded: the oldest events go.
func TestTimelineIsBounded(t *testing.T) {
	t.Parallel()
	var l line
	for i := range 3 * eventsKept {
		l.put(status.Switched, "g1", "", time.Duration(i)*time.Second)
	}
	if got := l.limit("pool 'p'"); got.Used != eventsKept || got.Max != eventsKept || got.Hits != 2*eventsKept || l.events[0].ID != 2*eventsKept+1 {
		t.Errorf("%+v, the oldest is %d", got, l.events[0].ID)
	}
}

// TestTimelineRepeats: false alarms that repeat are one.
func TestTimelineRepeats(t *testing.T) {
	t.Parallel()
	var l line
	for i := range 1000 {
		l.put(status.FalseAlarm, "g1", "EOF", time.Duration(i)*time.Second)
	}
	l.put(status.FalseAlarm, "g1", "RST", 2*time.Hour)
	l.put(status.FalseAlarm, "g2", "RST", 2*time.Hour)
	if e := l.put(status.FalseAlarm, "g1", "RST", 2*time.Hour+repeatWithin); e.Repeats != 0 {
		t.Errorf("one that came later is a repetition: %+v", e)
	}
	var ids []uint64
	for _, e := range l.events {
		ids = append(ids, e.ID)
	}
	if want := []uint64{1000, 1001, 1002, 1003}; !slices.Equal(ids, want) {
		t.Errorf("the events are %v, want %v", ids, want)
	}
	if e := l.events[0]; e.Repeats != 999 {
		t.Errorf("%d repetitions", e.Repeats)
	}
}

// TestTimelineKeepsSwitches: false alarms, too far apart to be one, make room for what has happened to the masters.
func TestTimelineKeepsSwitches(t *testing.T) {
	t.Parallel()
	var l line
	at := time.Duration(0)
	alarms := func() {
		for range 2 * eventsKept {
			at += repeatWithin + time.Second
			l.put(status.FalseAlarm, "g1", "EOF", at)
		}
	}
	l.put(status.Switched, "g1", "", at)
	l.put(status.AuthorityLost, "g1", "", at)
	alarms()
	n, first := l.count(status.Switched)
	lost, _ := l.count(status.AuthorityLost)
	falsely, oldest := l.count(status.FalseAlarm)
	if n != 1 || first != 1 || lost != 1 || falsely != eventsKept-2 || oldest != l.last-eventsKept+3 {
		t.Errorf("%d switches, the first is %d; %d of authority; %d false alarms, the oldest is %d of %d", n, first, lost, falsely, oldest, l.last)
	}
	for range eventsKept {
		l.put(status.Switched, "g1", "", at)
	}
	alarms() // of which one has a place, so that it can be seen what goes on
	n, _ = l.count(status.Switched)
	if falsely, oldest = l.count(status.FalseAlarm); n != eventsKept-1 || falsely != 1 || oldest != l.last || len(l.events) != eventsKept {
		t.Errorf("%d switches, %d false alarms, the oldest is %d of %d", n, falsely, oldest, l.last)
	}
}
