package engine

import (
	"cmp"
	"slices"

	"respgate/engine/command"
)

// question is what a client asks about the clients of its pool, which may live on any loop. Its functions run on the loops
// of those they are given, so they must share nothing that is written to.
type question struct {
	pool   func(p *pool)                                         // for each loop's part of the pool, first; nil = nothing
	client func(c *client) (answer, bool)                        // for each client of the pool, some a turn; nil = nobody is asked
	reply  func(c *client, all []answer) (text []byte, end bool) // makes the reply of the answers, ascending by id; end: the asker's last one
}

// answer is what one client had to say.
type answer struct {
	id   int64
	text string
}

// inquiry is a question under way. The request stays in its client's queue meanwhile, and the client is not handled
// further: what it asks for next sees what this has done, as on one server.
//
// Loops exchange functions by post and wait for nobody. The asker may be gone when the last answer comes: then its handle
// finds nothing, and its request went with it.
type inquiry struct {
	question
	home    *loop
	asker   uint64   // handle
	request *request // in the asker's queue for as long as that is open
	name    string   // of the pool
	open    int      // loops that have not answered; like answers for the home loop only
	answers []answer
}

// askTurn is how many clients a loop looks at in one turn: the others need not wait for more.
const askTurn = 128

// maxInquiries is how many a loop has under way: what each has gathered stays in memory until the last loop has answered.
const maxInquiries = 32

// ask puts a question to every loop and answers the request being handled when all have replied.
func (c *client) ask(cmd *command.Command, q question) {
	l := c.loop
	if l.inquiries >= maxInquiries {
		c.pool.count(errBusy)
		c.replyError("ERR respgate: too many clients ask for others just now: ask again")
		return
	}
	l.inquiries++
	r := l.newRequest()
	r.client, r.cmd, r.start, r.queued = c, cmd, l.now, inClient
	c.await(r)
	in := &inquiry{question: q, home: l, asker: c.handle, request: r, name: c.pool.name, open: len(l.eng.loops)}
	for _, other := range l.eng.loops {
		if other != l {
			other.post(func() { in.begin(other, other.pools[in.name]) })
		}
	}
	in.begin(l, c.pool)
	if in.open > 0 {
		c.pause(pauseAsk)
	}
}

// begin is the question at one loop, which may have no such pool any more.
func (in *inquiry) begin(l *loop, p *pool) {
	if p == nil {
		in.report(l, nil)
		return
	}
	if in.pool != nil {
		in.pool(p)
	}
	if in.client == nil {
		in.report(l, nil)
		return
	}
	handles := make([]uint64, 0, p.count_)
	for c := p.clients; c != nil; c = c.next {
		handles = append(handles, c.handle)
	}
	in.turn(l, handles, nil)
}

// turn asks some of the clients, and leaves the rest to the next turn of the loop.
func (in *inquiry) turn(l *loop, handles []uint64, got []answer) {
	n := min(len(handles), askTurn)
	for _, h := range handles[:n] {
		c, ok := l.slots.get(h).(*client)
		if !ok || c.state != clientOpen {
			continue
		}
		if a, ok := in.client(c); ok {
			got = append(got, a)
		}
	}
	if rest := handles[n:]; len(rest) > 0 {
		l.post(func() { in.turn(l, rest, got) })
		return
	}
	in.report(l, got)
}

// report takes a loop's answers home.
func (in *inquiry) report(l *loop, got []answer) {
	if l == in.home {
		in.take(got)
		return
	}
	in.home.post(func() { in.take(got) })
}

// take notes answers, on the home loop; the last ones complete the request.
func (in *inquiry) take(got []answer) {
	in.answers = append(in.answers, got...)
	if in.open--; in.open > 0 {
		return
	}
	in.home.inquiries--
	c, ok := in.home.slots.get(in.asker).(*client)
	if !ok {
		return
	}
	slices.SortFunc(in.answers, func(a, b answer) int { return cmp.Compare(a.id, b.id) })
	text, end := in.reply(c, in.answers)
	in.home.complete(in.request, &reply{text: text})
	if end {
		c.finish()
	}
	c.resume(pauseAsk)
}
