package engine

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/poller"
	"respgate/engine/topology"
)

// interrupted is a poller whose next Wait a signal ends.
type interrupted struct {
	poller.Poller
	signals int
}

func (p *interrupted) Wait(events []poller.Event, timeout int64) (int, error) {
	if p.signals > 0 {
		p.signals--
		return 0, nil
	}
	return p.Poller.Wait(events, timeout)
}

// TestStoppedWhileAnswered: a reply that came while the process was stopped is read before the request's deadline is looked at.
func TestStoppedWhileAnswered(t *testing.T) {
	for name, signals := range map[string]int{"by a signal that ends the poll": 1, "in its turn": 0} {
		t.Run(name, func(t *testing.T) {
			d := newDriven(t, 1, func(s *topology.Settings) { s.Timeout = time.Second })
			key := d.keys(1)[0]
			want := bulk(string(d.value))
			fd := d.client()
			d.round(fd, []byte(req("GET", key)), len(want)) // the link is up
			if _, err := unix.Write(fd, []byte(req("GET", key))); err != nil {
				t.Fatal(err)
			}
			k := d.l.pools["p"].groups[0].servers[0].links[0]
			until(t, "the request is in flight", func() bool {
				n, err := d.l.poll.Wait(d.l.events[:], 0)
				if err != nil {
					t.Fatal(err)
				}
				d.l.act(n)
				return k.inflight.count == 1
			})
			d.servers[0].serve()
			d.e.start = d.e.start.Add(-time.Minute) // that long it was stopped
			d.l.poll = &interrupted{d.l.poll, signals}
			n, err := d.l.wait()
			if err != nil {
				t.Fatal(err)
			}
			d.l.act(n)
			got := make([]byte, 2*len(want))
			if n, err := unix.Read(fd, got); err != nil || string(got[:n]) != want {
				t.Errorf("answered %q, %v, want %q", got[:max(n, 0)], err, want)
			}
		})
	}
}
