package admin

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
	"respgate/internal/status"
)

// subscribed waits for the confirmations of a request, and throws them away.
func (w *wire) subscribed(n int, args ...string) {
	w.do(args...)
	for range n - 1 {
		w.reply()
	}
}

// next waits for a message.
func (w *wire) next(kind respconn.Kind) (parts []string) {
	w.t.Helper()
	v, err := w.conn.Receive()
	w.tap.read.Reset()
	if err != nil || v.Kind != kind {
		w.t.Fatalf("%v, %v", v, err)
	}
	for _, e := range v.Elems {
		text, _ := e.Text()
		parts = append(parts, text)
	}
	return parts
}

// expect waits for a message that has to be this one.
func (w *wire) expect(kind respconn.Kind, parts ...string) {
	w.t.Helper()
	if got := w.next(kind); !slices.Equal(got, parts) {
		w.t.Errorf("(-want +got):\n%s", cmp.Diff(parts, got))
	}
}

// TestEventsArePublished: each subscription that fits gets its message, in order and in the protocol of its connection; a channel
// that does not fit, and one that was given up, get none.
func TestEventsArePublished(t *testing.T) {
	t.Parallel()
	f := newFake()
	s, address := start(t, Config{}, f, io.Discard)
	list := events()
	two, three, other := dial(t, address), dial(t, address), dial(t, address)
	two.subscribed(2, "SUBSCRIBE", "respgate:events", "x")
	three.do("HELLO", "3")
	three.subscribed(1, "SUBSCRIBE", "respgate:events")
	three.subscribed(2, "PSUBSCRIBE", "respgate:*", "nothing*")
	other.do("HELLO", "3")
	other.subscribed(1, "SUBSCRIBE", "respgate")
	for _, e := range list {
		s.Publish(e)
	}
	for _, e := range list {
		payload, err := message(e)
		if err != nil {
			t.Fatal(err)
		}
		two.expect(respconn.Array, "message", "respgate:events", payload)
		three.expect(respconn.Push, "message", "respgate:events", payload)
		three.expect(respconn.Push, "pmessage", "respgate:*", "respgate:events", payload)
	}
	if got := other.do("PING"); got != "+PONG\r\n" {
		t.Errorf("the one that subscribed to something else got %q", got)
	}
	two.do("UNSUBSCRIBE", "respgate:events")
	s.Publish(list[0])
	if got := two.do("PING", "still"); !strings.HasPrefix(got, "*2\r\n$4\r\npong\r\n") {
		t.Errorf("after UNSUBSCRIBE: %q", got)
	}
}

// TestMessages: an event is a JSON object with the keys of PROXY EVENTS; of one that begins, with what is known.
func TestMessages(t *testing.T) {
	t.Parallel()
	list := events()
	got, err := message(list[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event":"holding","id":9,"pool":"sessions","group":"s1","at":"2026-11-23T12:00:00.023Z","source":"sentinel","cause":"link to 127.0.0.1:6390: EOF\r\n<&>","old":"127.0.0.1:6390"}`
	if got != want {
		t.Errorf("holding:\n%s", cmp.Diff(want, got))
	}
	whole, err := message(list[1])
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		ID       uint64
		Event    string
		Released int64 `json:"released-ms"`
		Failed   int
		Votes    []struct {
			Sentinel, Master, State string
			Epoch                   uint64
		}
	}
	if err := json.Unmarshal([]byte(whole), &back); err != nil {
		t.Fatal(err)
	}
	if back.ID != 8 || back.Event != "switched" || back.Released != 2281 || back.Failed != 10 || len(back.Votes) != 3 || back.Votes[1].State != "tilt" || back.Votes[0].Epoch != 42 {
		t.Errorf("switched: %+v", back)
	}
}

// TestSlowSubscriber: one that does not read is cut off, and neither the publisher nor another subscriber waits for it.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	var log journal
	s, address := start(t, Config{}, newFake(), &log)
	slow, quick := dial(t, address), dial(t, address)
	slow.subscribed(1, "SUBSCRIBE", "respgate:events")
	quick.subscribed(1, "SUBSCRIBE", "respgate:events")
	for _, c := range s.clients() {
		if c.remote == slow.tap.LocalAddr().String() {
			c.writing.Lock() // as it is while a write waits for the client
			defer c.writing.Unlock()
		}
	}
	for n := 0; s.cut.Load() == 0; n++ {
		if n > backlog+1 { // one more is on its way
			t.Fatalf("%d events wait for a client that does not read", n)
		}
		s.Publish(events()[1])
		quick.next(respconn.Array)
	}
	if l := s.eventsLimit(); l.Hits != 1 || l.Used > 1 || !strings.Contains(log.String(), "a subscriber on the admin port does not read its events") {
		t.Errorf("%+v\n%s", l, log.String())
	}
	if got := slow.reply(); !strings.Contains(got, "(") {
		t.Errorf("it is still there, and got %.100q", got)
	}
	s.Publish(events()[1])
	quick.next(respconn.Array)
}

// TestSubscribersAndPasswords: a change of the password ends subscriptions that the old one opened.
func TestSubscribersAndPasswords(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{Password: "old"}, newFake(), io.Discard)
	w := dial(t, address)
	w.do("AUTH", "old")
	w.subscribed(1, "SUBSCRIBE", "respgate:events")
	s.Configure(Config{Password: "new"})
	if got := w.reply(); !strings.Contains(got, "(") {
		t.Errorf("still subscribed: %q", got)
	}
	s.Publish(events()[0])
}

// TestSubscribersComeAndGo: events, subscriptions and ends of connections in any order.
func TestSubscribersComeAndGo(t *testing.T) {
	t.Parallel()
	s, address := start(t, Config{MaxClients: 1000}, newFake(), io.Discard)
	stop := make(chan struct{})
	published := make(chan struct{})
	go func() {
		defer close(published)
		for {
			select {
			case <-stop:
				return
			default:
				s.Publish(status.Event{Event: status.Switched, At: noon})
			}
		}
	}()
	for i := range 20 {
		w := dial(t, address)
		w.subscribed(1, "SUBSCRIBE", "respgate:events")
		for range i % 5 {
			w.reply()
		}
		switch i % 3 {
		case 0:
			_ = w.tap.Close()
		case 1:
			_ = w.conn.Send("QUIT")
			_ = w.conn.Flush()
			for !strings.Contains(w.reply(), "(") {
			}
		}
	}
	close(stop)
	<-published
}
