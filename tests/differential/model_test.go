package differential

import (
	"slices"
	"strings"
)

// model knows, of a client's connection, what decides how many replies a request has. Everything else Redis knows.
type model struct {
	resp3, off, skip, multi, gone bool
	channels                      [3]map[string]bool // by kind: plain, patterns, shards
}

var kinds = map[string]int{
	"subscribe": 0, "unsubscribe": 0, "psubscribe": 1, "punsubscribe": 1, "ssubscribe": 2, "sunsubscribe": 2,
}

func (m *model) subscriptions() int {
	return len(m.channels[0]) + len(m.channels[1]) + len(m.channels[2])
}

// confined reports whether the connection takes nothing but what has to do with subscriptions.
func (m *model) confined() bool { return !m.resp3 && m.subscriptions() > 0 }

// expect counts the replies that a step will have, and the confirmations of its subscriptions.
func (m *model) expect(s *step) (replies, confirmations int) {
	if m.gone {
		return 0, 0
	}
	quiet := m.off || m.skip
	m.skip = false
	name := strings.ToLower(s.args[0])
	kind, subscription := kinds[name]
	switch {
	case subscription && (len(s.args) > 1 || strings.Contains(name, "un")):
		return 0, m.subscribe(kind, strings.Contains(name, "un"), s.args[1:])
	case name == "quit":
		m.gone = true
	case name == "reset" && len(s.args) == 1:
		skipped := quiet && !m.off // RESET clears OFF, and is itself skipped by SKIP
		*m = model{}
		if skipped {
			return 0, 0
		}
		return 1, 0
	case m.confined():
	case name == "hello" && len(s.args) > 1 && (s.args[1] == "2" || s.args[1] == "3") && !bad(s):
		m.resp3 = s.args[1] == "3"
	case name == "multi" && len(s.args) == 1:
		m.multi = true
	case name == "exec", name == "discard" && len(s.args) == 1: // EXEC with arguments discards
		m.multi = false
	case name == "client" && len(s.args) == 3 && strings.EqualFold(s.args[1], "reply"):
		switch strings.ToLower(s.args[2]) {
		case "on":
			m.off, quiet = false, false
		case "off":
			m.off, quiet = true, true
		case "skip":
			m.skip, quiet = !m.off, true
		}
	}
	if quiet {
		return 0, 0
	}
	return 1, 0
}

// bad reports whether a HELLO fails, as the generator writes them: its options stay out of the model.
func bad(s *step) bool {
	for _, a := range s.args[2:] {
		if a == "wrong" {
			return true
		}
	}
	return false
}

func (m *model) subscribe(kind int, un bool, channels []string) int {
	n := len(channels)
	if un && n == 0 {
		n = max(1, len(m.channels[kind]))
		m.channels[kind] = nil
		return n
	}
	if m.channels[kind] == nil {
		m.channels[kind] = map[string]bool{}
	}
	for _, c := range channels {
		if un {
			delete(m.channels[kind], c)
		} else {
			m.channels[kind][c] = true
		}
	}
	return n
}

// accepts reports whether the model can tell what becomes of a step: it cannot for subscriptions within a transaction,
// and for a connection that is gone.
func (m *model) accepts(s *step) bool {
	name := strings.ToLower(s.args[0])
	_, subscription := kinds[name]
	switch {
	case m.gone:
		return false
	case name == "quit" && (m.off || m.skip): // Redis then forgets to close
		return false
	case m.multi && subscription, m.multi && name == "hello", m.multi && name == "client" && len(s.args) > 1 && strings.EqualFold(s.args[1], "reply"):
		return false
	}
	return true
}

// wellFormed reports whether the model can follow the whole sequence; what shrinking leaves need not be.
func (q *sequence) wellFormed() bool {
	var m [2]model
	for i := range q.batches {
		b := &q.batches[i]
		if b.late && (i+1 == len(q.batches) || !b.released(&q.batches[i+1])) {
			return false
		}
		for k := range b.steps {
			if !m[b.who].accepts(&b.steps[k]) {
				return false
			}
			m[b.who].expect(&b.steps[k])
		}
	}
	return true
}

// released reports whether the other client's next batch ends the wait of a late one.
func (b *batch) released(next *batch) bool {
	bring := next.steps[0].args
	return next.who != b.who && len(bring) > 2 && slices.Contains(b.steps[0].args, bring[1])
}
