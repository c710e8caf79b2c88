package engine

import "testing"

// TestOvertakenFragment: a fragment that nobody waits for any more belongs to no client, whoever its recycled parent belongs to now.
func TestOvertakenFragment(t *testing.T) {
	d := newDriven(t, 1, nil)
	d.round(d.client(), []byte(req("GET", d.keys(1)[0])), len(bulk(string(d.value))))
	s := d.l.pools["p"].groups[0].servers[0]
	k := s.links[0]
	other := &client{pool: d.l.pools["p"], id: 7}
	parent := &request{requestFields: requestFields{client: other}}
	r := d.l.newRequest()
	r.parent, r.cmd, r.server, r.queued = parent, cmdPing, s, inServer
	k.takeRequest(r)
	k.passOver(other.id)
	if k.retry.count != 0 || r.queued != 0 {
		t.Errorf("%d requests are kept, in queues %d", k.retry.count, r.queued)
	}
	r = d.l.newRequest()
	r.parent, r.cmd, r.server, r.queued = parent, cmdPing, s, inServer
	k.retry.push(r)
	k.refusals[9] = 1
	k.passOver(9)
	if k.retry.count != 0 {
		t.Error("what nobody waits for is kept for another client")
	}
}
