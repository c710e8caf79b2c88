package engine

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/topology"
)

// frozen steps without letting the servers do anything, until nothing changes any more.
func (d *driven) frozen() {
	servers := d.servers
	d.servers = nil
	for last := uint64(0); ; {
		d.step()
		if now := d.l.pools["p"].received; now == last {
			break
		} else {
			last = now
		}
	}
	d.servers = servers
}

// up brings the links up.
func (d *driven) up() {
	fd := d.client()
	for _, k := range d.keys(len(d.servers)) {
		d.round(fd, []byte(req("SET", k, "v")), len(okReply))
	}
}

func (d *driven) send(fd int, text string) {
	d.t.Helper()
	if n, err := unix.Write(fd, []byte(text)); n != len(text) {
		d.t.Fatalf("sent %d of %d bytes: %v", n, len(text), err)
	}
}

// inFlight counts, one by one, the requests in flight that somebody waits for.
func (s *server) inFlight() (n int) {
	for _, k := range append(s.links[:len(s.links):len(s.links)], s.draining...) {
		if k == nil {
			continue
		}
		for r := k.inflight.head; r != nil; r = r.nextServer {
			if !r.dead() {
				n++
			}
		}
	}
	return n
}

// TestReleaseWakesFew: when a server that is behind makes room, as many clients are read as fill it, and not a whole crowd.
func TestReleaseWakesFew(t *testing.T) {
	d := newDriven(t, 1, nil)
	d.up()
	s := d.l.pools["p"].groups[0].servers[0]
	request := req("SET", "k", strings.Repeat("x", 8<<10))
	var fds []int
	for range 300 {
		fd := d.client()
		d.send(fd, request+request+request)
		fds = append(fds, fd)
	}
	d.frozen()
	if len(s.stalled) < 150 || s.live != s.inFlight() {
		t.Fatalf("%d clients are stalled, %d bytes wait, %d in flight, counted %d", len(s.stalled), s.pending.bytes, s.live, s.inFlight())
	}
	highest := 0
	for s.pending.count > 0 || len(s.stalled) > 0 {
		before := s.pending.bytes
		d.step()
		if s.pending.bytes > before {
			highest = max(highest, s.pending.bytes)
		}
	}
	if highest > stallPending+2*len(request) {
		t.Errorf("%d bytes waited after some were let go, %d are enough", highest, stallPending)
	}
	for i, fd := range fds {
		if got := d.round(fd, nil, 3*len(okReply)); string(got) != strings.Repeat(string(okReply), 3) {
			t.Fatalf("client %d: %q", i, got)
		}
	}
	if s.live != 0 {
		t.Errorf("%d requests are counted as in flight", s.live)
	}
}

// TestStalledAndGone: clients that are stalled and go leave nothing behind, however many come after them.
func TestStalledAndGone(t *testing.T) {
	d := newDriven(t, 1, nil)
	d.up()
	s := d.l.pools["p"].groups[0].servers[0]
	request := req("SET", "k", strings.Repeat("x", 8<<10))
	for range 120 {
		d.send(d.client(), request)
	}
	d.frozen()
	if len(s.stalled) == 0 {
		t.Fatal("nobody is stalled")
	}
	for range 20 {
		gone := len(d.clients)
		for range 50 {
			d.send(d.client(), request)
		}
		d.frozen()
		for _, fd := range d.clients[gone:] {
			unix.Close(fd)
		}
		d.clients = d.clients[:gone]
		for d.l.clients > gone {
			d.frozen()
			for c := d.l.pools["p"].clients; c != nil; {
				next := c.next
				if c.paused&pauseServer != 0 && c.id > int64(gone) {
					c.close() // it is not read, so that only a write would tell
				}
				c = next
			}
		}
	}
	if n := cap(s.stalled); n > 512 {
		t.Errorf("a list of %d for some 70 clients that are stalled", n)
	}
}

// TestTimeOutsInTurns: many requests that time out at once are answered over several turns of the loop, each once, and the
// replies that come late disturb nobody.
func TestTimeOutsInTurns(t *testing.T) {
	d := newDriven(t, 1, nil)
	d.up()
	p := d.l.pools["p"]
	s := p.groups[0].servers[0]
	k := s.links[0]
	const each, n = 900, 5 * 900
	var fds []int
	for range n / each {
		fds = append(fds, d.client())
		d.send(fds[len(fds)-1], strings.Repeat(req("GET", "k"), each))
	}
	d.frozen()
	if s.live != n || s.inFlight() != n {
		t.Fatalf("%d requests are in flight, counted %d, want %d", s.inFlight(), s.live, n)
	}
	topo := *p.topo
	topo.Settings.Timeout = time.Second
	p.topo = &topo
	late := k.inflight.head.sent + int64(topo.Settings.Timeout)
	for turns := 1; ; turns++ {
		before := s.live
		k.deadline(late)
		if before-s.live > maxAtOnce {
			t.Fatalf("%d requests in one turn", before-s.live)
		}
		if s.live != s.inFlight() {
			t.Fatalf("%d in flight, counted %d", s.inFlight(), s.live)
		}
		if turns == 1 && k.awaited() != nil && !k.timer.Set() {
			t.Fatal("no timer for the rest")
		}
		if late = k.inflight.tail.sent + int64(topo.Settings.Timeout); s.live == 0 {
			break
		}
	}
	if got := int(p.groups[0].timeouts); got != n {
		t.Errorf("%d time-outs, want %d", got, n)
	}
	text := "-ERR respgate: group 'g0': timed out after 1000 ms waiting for a reply of " + k.peer + "\r\n"
	for _, fd := range fds {
		got := 0
		for got < each*len(text) {
			d.step()
			m, err := unix.Read(fd, d.in)
			if err != nil {
				continue
			}
			for i := range m {
				if d.in[i] != text[(got+i)%len(text)] {
					t.Fatalf("reply %d: %q", (got+i)/len(text), d.in[max(0, i-100):i+1])
				}
			}
			got += m
		}
	}
	if got := string(d.round(fds[0], []byte(req("SET", "k", "v")), len(okReply))); got != string(okReply) {
		t.Errorf("afterwards: %q", got)
	}
	if p.groups[0].late != n || s.live != 0 {
		t.Errorf("%d late replies, want %d; %d counted as in flight", p.groups[0].late, n, s.live)
	}
}

// TestDialsInTurns: a pool of many groups is connected in steps, so that nobody waits for all of its connections.
func TestDialsInTurns(t *testing.T) {
	d := newDriven(t, 1, nil)
	p := d.l.pools["p"]
	topo := *p.topo
	topo.Settings.Preconnect = true
	master := topo.Groups[0].Master
	const groups = 5 * maxDials
	for i := 1; i < groups; i++ {
		topo.Groups = append(topo.Groups, &topology.Group{Name: "g" + strings.Repeat("x", i), Master: master})
	}
	d.l.swap(&topology.Snapshot{Serial: 2, Pools: []*topology.Pool{&topo}})
	last := uint64(0)
	connected := func() (n int) {
		for _, g := range p.groups {
			if s := g.servers[0]; s != nil && s.connected() {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(patience)
	for connected() < groups {
		if n := p.dials - last; n > maxDials {
			t.Fatalf("%d connections begun at once", n)
		}
		last = p.dials
		d.step()
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d groups are connected", connected(), groups)
		}
	}
}
