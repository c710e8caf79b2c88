package control

import (
	"fmt"
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

// TestTimelineIsBounded: the oldest events go, and false alarms that repeat are one.
func TestTimelineIsBounded(t *testing.T) {
	t.Parallel()
	var tl timeline
	start := time.Unix(1e9, 0)
	for i := range 3 * eventsKept {
		tl.add(status.Event{ID: uint64(i), Event: status.Switched, At: start.Add(time.Duration(i) * time.Second)})
	}
	if l := tl.limit("pool 'p'"); l.Used != eventsKept || l.Max != eventsKept || l.Hits != 2*eventsKept || tl.events[0].ID != 2*eventsKept {
		t.Errorf("%+v, the oldest is %d", l, tl.events[0].ID)
	}
	alarm := func(id uint64, group, cause string, after time.Duration) status.Event {
		return tl.add(status.Event{ID: id, Event: status.FalseAlarm, Group: group, Cause: cause, At: start.Add(after)})
	}
	for i := range 1000 {
		alarm(uint64(1000+i), "g1", "EOF", time.Hour+time.Duration(i)*time.Second)
	}
	alarm(3000, "g1", "RST", 2*time.Hour)
	alarm(3001, "g2", "RST", 2*time.Hour)
	if e := alarm(3002, "g1", "RST", 2*time.Hour+repeatWithin); e.Repeats != 0 {
		t.Errorf("one that came later is a repetition: %+v", e)
	}
	var ids []uint64
	for _, e := range tl.events[len(tl.events)-5:] {
		ids = append(ids, e.ID)
	}
	if want := []uint64{383, 1999, 3000, 3001, 3002}; fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("the last events are %v, want %v", ids, want)
	}
	if e := tl.events[len(tl.events)-4]; e.Repeats != 999 {
		t.Errorf("%d repetitions", e.Repeats)
	}
}
