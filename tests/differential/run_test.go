package differential

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"respgate/tests/harness"
)

// transcript is what the two clients of a sequence got from one side.
type transcript struct {
	clients [2]record
}

// record is what one client got.
type record struct {
	replies  []reply // in order, confirmations of subscriptions among them
	messages []reply // nobody asked for these
	cause    string  // why there are no more replies, if the side is to blame
}

// player sends a sequence to one side.
type player struct {
	addr     string
	plain    bool
	patience time.Duration
	wires    [2]*wire
	models   [2]model
	owed     [2]int // replies and confirmations that have to come, since the beginning
	got      *transcript

	published [2][]int // positions of the replies that tell how many get a message
}

// play sends the sequence and returns what came. want is the other side's transcript, nil for the first one: as many
// messages are waited for. An error means that the test is wrong, not the side.
func play(q *sequence, addr string, patience time.Duration, want *transcript) (*transcript, error) {
	p := &player{addr: addr, plain: want == nil, patience: patience, got: &transcript{}}
	defer func() {
		for _, w := range p.wires {
			if w != nil {
				w.close()
			}
		}
	}()
	for i := range q.batches {
		if err := p.send(q, i); err != nil {
			return nil, err
		}
		if q.batches[i].late {
			continue
		}
		for who := range p.wires {
			p.await(who)
		}
		p.deliver()
	}
	for who := range p.wires {
		if want != nil {
			p.settle(who, len(want.clients[who].messages))
		}
	}
	for who := range p.wires {
		p.leave(who)
	}
	return p.got, nil
}

func (p *player) send(q *sequence, at int) error {
	b := &q.batches[at]
	w := p.wires[b.who]
	if w == nil {
		var err error
		if w, err = dialWire(p.addr); err != nil {
			return err
		}
		p.wires[b.who] = w
	}
	for k := range b.steps {
		replies, confirmations := p.models[b.who].expect(&b.steps[k])
		if name := strings.ToLower(b.steps[k].args[0]); replies == 1 && (name == "publish" || name == "spublish") {
			p.published[b.who] = append(p.published[b.who], p.owed[b.who])
		}
		if !p.plain || !b.steps[k].hidden {
			p.owed[b.who] += replies + confirmations
		}
	}
	if p.got.clients[b.who].cause != "" {
		return nil
	}
	if err := w.write(b.pieces(p.plain, q.seed, at), p.patience); err != nil {
		p.got.clients[b.who].cause = fmt.Sprintf("the connection takes no more: %v", err)
	}
	return nil
}

// await reads until the client has all replies that it is owed.
func (p *player) await(who int) {
	for r := &p.got.clients[who]; r.cause == "" && len(r.replies) < p.owed[who]; {
		p.read(who)
	}
}

// deliver reads until every message that PUBLISH has counted is there: the proxy's come on connections of their own, and may
// be later than the reply. What has not come after a while shows in the comparison.
func (p *player) deliver() {
	counted := 0
	for who, positions := range p.published {
		for _, at := range positions {
			if replies := p.got.clients[who].replies; at < len(replies) && replies[at].kind == ':' {
				n, _ := strconv.Atoi(replies[at].text)
				counted += n
			}
		}
	}
	for until := time.Now().Add(2 * time.Second); p.messages() < counted && time.Now().Before(until); {
		for who, w := range p.wires {
			if w != nil && p.got.clients[who].cause == "" {
				p.glance(who)
			}
		}
	}
}

// messages counts those of both clients, without invalidations.
func (p *player) messages() (n int) {
	for who := range p.got.clients {
		for i := range p.got.clients[who].messages {
			if p.got.clients[who].messages[i].name() != "invalidate" {
				n++
			}
		}
	}
	return n
}

// glance reads what comes at once.
func (p *player) glance(who int) {
	one, err := p.wires[who].next(20 * time.Millisecond)
	switch late, _ := errors.AsType[net.Error](err); {
	case late != nil && late.Timeout():
	default:
		p.note(who, one, err)
	}
}

// settle reads until as many messages are there as on the other side, or none has come for a while.
func (p *player) settle(who, messages int) {
	if p.wires[who] == nil || p.models[who].gone {
		return
	}
	r := &p.got.clients[who]
	for until := time.Now().Add(2 * time.Second); r.cause == "" && len(r.messages) < messages && time.Now().Before(until); {
		p.glance(who)
	}
}

// leave says good-bye and reads to the end: what nobody has asked for shows up here.
func (p *player) leave(who int) {
	w, r := p.wires[who], &p.got.clients[who]
	if w == nil || r.cause != "" {
		return
	}
	if !p.models[who].gone {
		bye := harness.Encode("QUIT")
		if p.models[who].off || p.models[who].skip {
			bye = harness.Encode("RESET") + harness.Encode("RESET") + bye // of two, one is answered in any case
		}
		if err := w.write([][]byte{[]byte(bye)}, p.patience); err != nil {
			r.cause = fmt.Sprintf("the connection takes no QUIT: %v", err)
			return
		}
	}
	for r.cause == "" {
		p.read(who)
	}
	if r.cause == ended {
		r.cause = ""
	}
}

const ended = "the connection was closed"

func (p *player) read(who int) {
	one, err := p.wires[who].next(p.patience)
	p.note(who, one, err)
}

func (p *player) note(who int, one reply, err error) {
	r := &p.got.clients[who]
	switch {
	case errors.Is(err, io.EOF):
		r.cause = ended
	case err != nil:
		r.cause = fmt.Sprintf("no reply: %v", err)
	case one.isMessage():
		r.messages = append(r.messages, one)
	default:
		r.replies = append(r.replies, one)
	}
}
