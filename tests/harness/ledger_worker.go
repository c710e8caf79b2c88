package harness

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	keysPerWorker = 8
	aheadEach     = 31 // elements that a list has at first, more than that of the worker before
)

// worker sends one request at a time, or some in one write, and knows what its keys must hold. All workers do the same at the same
// time, more or less, and would count alike: so that a reply to one is wrong for any other, each counts in steps of its own, and
// its list begins with a length of its own.
type worker struct {
	ledger    *Ledger
	tag       string
	group     string
	pipelines bool
	conn      *Conn

	sets [keysPerWorker]struct {
		acked, sent int // the newest sequence number
		at          time.Time
	}
	step   int64 // of the counters
	counts [keysPerWorker]struct {
		acked, unknown int
		last           int64 // that INCRBY has answered
	}
	ahead  int // elements that the first RPUSH has besides its own
	filled bool
	pushed map[string]pushed
	length int64 // that RPUSH has answered last
	seq    int
	stale  int
	twice  int
	wrong  int
}

// pushed is an element of the list.
type pushed struct {
	acked bool
	sent  time.Time
}

// filler are the elements that the list begins with.
const filler = "-"

// primes gives one after the other, from ten thousand on: no number that is counted in a test is a multiple of two of them.
type primes struct{ last int64 }

func (p *primes) next() int64 {
	for n := max(p.last, 10_000) + 1; ; n++ {
		prime := true
		for d := int64(2); d*d <= n && prime; d++ {
			prime = n%d != 0
		}
		if prime {
			p.last = n
			return n
		}
	}
}

// request is one that a worker sends, and what it makes of the reply.
type request struct {
	args   []string
	answer func(r Reply)
	failed func() // nil: it does not matter
}

func (w *worker) run() {
	tick := time.NewTicker(w.ledger.options.Interval)
	defer tick.Stop()
	defer func() {
		if w.conn != nil {
			w.conn.Close()
		}
	}()
	for {
		select {
		case <-w.ledger.stop:
			return
		case <-tick.C:
		}
		w.send(w.requests())
	}
}

// requests are the next ones to be sent in one write.
func (w *worker) requests() []request {
	w.seq++
	i := (w.seq / 4) % keysPerWorker
	if w.pipelines {
		i = w.seq % keysPerWorker
		set := w.set(i)
		return []request{set, w.get(i), w.incr(i), w.push()}
	}
	switch w.seq % 4 {
	case 0:
		return []request{w.set(i)}
	case 1:
		return []request{w.get(i)}
	case 2:
		return []request{w.incr(i)}
	}
	return []request{w.push()}
}

// send sends requests in one write and reads their replies; an error reply is an error. A broken connection is replaced at the next.
func (w *worker) send(all []request) {
	began, book := time.Now(), w.ledger.groups[w.group]
	err := w.connect()
	if err == nil {
		var text strings.Builder
		for _, q := range all {
			text.WriteString(Encode(q.args...))
		}
		err = w.conn.Write(text.String())
	}
	for _, q := range all {
		var r Reply
		if err == nil {
			if r, err = w.conn.Receive(); err != nil {
				err = fmt.Errorf("connection: %w", err)
			}
		}
		failed := errors.Join(err, r.Err())
		switch {
		case failed == nil:
			q.answer(r)
		case q.failed != nil:
			q.failed()
		}
		if observe := w.ledger.options.Observe; observe != nil {
			observe(w.group, began, time.Now(), failed)
		}
		if failed != nil {
			book.failure(failed, time.Since(began))
		} else {
			book.success(time.Since(began))
		}
	}
	if err != nil && w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

func (w *worker) connect() error {
	if w.conn != nil {
		return nil
	}
	c, err := Dial(w.ledger.options.Addr)
	if err != nil {
		return err
	}
	c.Timeout = 5 * Patience // longer than any hold
	if p := w.ledger.options.Password; p != "" {
		if r, err := c.Do("AUTH", p); err != nil || r.Err() != nil {
			c.Close()
			return errors.Join(err, r.Err())
		}
	}
	w.conn = c
	return nil
}

func (w *worker) key(kind string, i int) string { return fmt.Sprintf("%s:%s%d", w.tag, kind, i) }

func (w *worker) set(i int) request {
	s := &w.sets[i]
	s.sent++
	n, sent := s.sent, time.Now()
	return request{args: []string{"SET", w.key("s", i), w.value(i, n)}, answer: func(r Reply) {
		if r.Kind != '+' || r.Str != "OK" {
			w.wrong++
		}
		s.acked, s.at = n, sent
	}}
}

func (w *worker) value(i, n int) string { return fmt.Sprintf("%s/%d/%d", w.tag, i, n) }

func (w *worker) get(i int) request {
	return request{args: []string{"GET", w.key("s", i)}, answer: func(r Reply) {
		n, ok := w.read(i, r)
		switch {
		case !ok:
			w.wrong++
		case n < w.sets[i].acked: // in a pipeline, that of the SET before it
			w.stale++
		}
	}}
}

// read gives the sequence number in the value of key i; false if the value cannot have come from this worker.
func (w *worker) read(i int, r Reply) (int, bool) {
	if r.Null {
		return 0, true
	}
	rest, ok := strings.CutPrefix(r.Str, fmt.Sprintf("%s/%d/", w.tag, i))
	n, err := strconv.Atoi(rest)
	return n, ok && r.Kind == '$' && err == nil && n <= w.sets[i].sent
}

func (w *worker) incr(i int) request {
	c := &w.counts[i]
	return request{
		args: []string{"INCRBY", w.key("c", i), strconv.FormatInt(w.step, 10)},
		answer: func(r Reply) {
			if r.Int%w.step != 0 {
				w.wrong++
			} else {
				r.Int /= w.step
				w.counted(r, c.last, int64(c.acked+c.unknown+1))
				c.last = r.Int
			}
			c.acked++
		},
		failed: func() { c.unknown++ },
	}
}

// counted checks a number that only this worker makes grow: it is more than the last one, and no more than has been sent.
func (w *worker) counted(r Reply, last, sent int64) {
	switch {
	case r.Kind != ':':
		w.wrong++
	case r.Int > sent:
		w.twice++
	case r.Int <= last:
		w.stale++
	}
}

func (w *worker) push() request {
	id, sent := strconv.Itoa(w.seq), time.Now()
	args := []string{"RPUSH", w.tag + ":l"}
	if !w.filled {
		w.filled = true
		for range w.ahead {
			args = append(args, filler)
		}
	}
	w.pushed[id] = pushed{sent: sent}
	return request{args: append(args, id), answer: func(r Reply) {
		w.counted(r, w.length, int64(len(w.pushed)+w.ahead))
		w.length = r.Int
		w.pushed[id] = pushed{acked: true, sent: sent}
	}}
}

// audit reads everything back from the group's master and adds what is missing or twice to the report.
func (w *worker) audit(m *Redis, r *GroupReport) {
	for i := range keysPerWorker {
		n, ok := w.read(i, m.must(w, "GET", w.key("s", i)))
		switch {
		case !ok:
			r.Wrong++
		case n < w.sets[i].acked:
			r.lose(w.sets[i].at)
		}
		have := int64(0)
		if v := m.must(w, "GET", w.key("c", i)); !v.Null {
			have, _ = strconv.ParseInt(v.Str, 10, 64)
		}
		if have%w.step != 0 {
			r.Wrong++
		}
		have /= w.step
		c := w.counts[i]
		r.Lost += max(0, c.acked-int(have))
		r.Duplicates += max(0, int(have)-c.acked-c.unknown)
	}
	seen := map[string]int{}
	for _, e := range m.must(w, "LRANGE", w.tag+":l", "0", "-1").Elems {
		seen[e.Str]++
	}
	for id, p := range w.pushed {
		if p.acked && seen[id] == 0 {
			r.lose(p.sent)
		}
		if seen[id] > 1 {
			r.Duplicates += seen[id] - 1
		}
		delete(seen, id)
	}
	switch n := seen[filler]; {
	case n > w.ahead:
		r.Duplicates++
	case n > 0 && n < w.ahead:
		r.Wrong++
	}
	delete(seen, filler)
	r.Wrong += len(seen)
}

// lose counts an acknowledged write that is not there.
func (r *GroupReport) lose(sent time.Time) {
	r.Lost++
	if sent.After(r.LostSent) {
		r.LostSent = sent
	}
}

func (r *Redis) must(w *worker, args ...string) Reply {
	w.ledger.t.Helper()
	reply, err := r.ask(Patience, args...)
	if err != nil {
		w.ledger.t.Fatalf("read back from %s: %s: %v", r.Name, args[0], err)
	}
	return reply
}
