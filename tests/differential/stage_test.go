package differential

import (
	"errors"
	"fmt"
	"testing"

	"respgate/tests/harness"
)

// stage is what one worker compares on: a plain server, and a pool of one group and one of three through the proxy.
type stage struct {
	plain    *wire
	addrs    map[int]string // of the pools, by the number of groups
	direct   string
	servers  map[int][]*wire // behind the pools
	grammar  *grammar
	payloads []string
	rules    *rulebook
}

// patience of a reply; in a busy moment everything takes long.
const patience = harness.Patience

// stages starts the servers of all workers and one proxy before them.
func stages(t *testing.T, workers int, rules *rulebook) []*stage {
	t.Helper()
	conf := harness.NewConfig(t)
	all := make([]*stage, workers)
	for i := range all {
		s := &stage{addrs: map[int]string{}, servers: map[int][]*wire{}, rules: rules}
		plain := harness.StartRedis(t, harness.RedisOptions{})
		s.direct, s.plain = plain.Addr(), control(t, plain)
		for _, groups := range []int{1, 3} {
			var list []string
			for k := range groups {
				r := harness.StartRedis(t, harness.RedisOptions{})
				s.servers[groups] = append(s.servers[groups], control(t, r))
				list = append(list, fmt.Sprintf("%s:1 g%d", r.Addr(), k+1))
			}
			s.addrs[groups] = conf.ServersPool(fmt.Sprintf("w%d-%d", i, groups), list, `hash_tag: "{}"`, "timeout: 30s")
		}
		all[i] = s
	}
	harness.StartProxy(t, conf)
	for _, s := range all {
		var err error
		if s.grammar, err = readGrammar(s.direct); err != nil {
			t.Fatal(err)
		}
		if s.payloads, err = payloads(s.plain); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func control(t *testing.T, r *harness.Redis) *wire {
	t.Helper()
	w, err := dialWire(r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *wire) ask(args ...string) (reply, error) {
	s := step{args: args}
	if err := w.write([][]byte{[]byte(s.bytes())}, patience); err != nil {
		return reply{}, err
	}
	r, err := w.next(patience)
	if err == nil && r.isError() {
		err = errors.New(r.text)
	}
	return r, err
}

// payloads are what DUMP says of some keys; the same on all servers, for nothing in them is in a hash's order.
func payloads(w *wire) ([]string, error) {
	list := []string{"", "nonsense"}
	for _, args := range [][]string{
		{"SET", "d", "dumped"}, {"RPUSH", "d", "x", "y"}, {"ZADD", "d", "1", "a"}, {"HSET", "d", "f", "v"}, {"SADD", "d", "1", "2"},
	} {
		if _, err := w.ask("DEL", "d"); err != nil {
			return nil, err
		}
		if _, err := w.ask(args...); err != nil {
			return nil, err
		}
		r, err := w.ask("DUMP", "d")
		if err != nil {
			return nil, err
		}
		list = append(list, r.text)
	}
	return list, nil
}

// clear empties both sides.
func (s *stage) clear(groups int) error {
	for _, w := range append([]*wire{s.plain}, s.servers[groups]...) {
		for _, args := range [][]string{{"FLUSHALL"}, {"SCRIPT", "FLUSH"}, {"FUNCTION", "FLUSH"}} {
			if _, err := w.ask(args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdict is judge, and once more where the machine may have been too busy: a server that did not answer in time.
func (s *stage) verdict(q *sequence) (*difference, error) {
	d, err := s.judge(q)
	for range 2 {
		if err != nil || d == nil || !d.late() {
			break
		}
		d, err = s.judge(q)
	}
	return d, err
}

// judge plays a sequence on both sides and compares.
func (s *stage) judge(q *sequence) (*difference, error) {
	if err := s.clear(q.groups); err != nil {
		return nil, err
	}
	plain, err := play(q, s.direct, patience, nil)
	if err != nil {
		return nil, err
	}
	for who := range plain.clients {
		if cause := plain.clients[who].cause; cause != "" {
			return nil, fmt.Errorf("the plain server does not go along, client %c: %s\n%s", 'a'+who, cause, q)
		}
	}
	proxy, err := play(q, s.addrs[q.groups], patience, plain)
	if err != nil {
		return nil, err
	}
	return compare(q, plain, proxy, s.rules), nil
}
