package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"respgate/tests/harness"
)

// sessions is a proxy of one loop over real servers in a fixed list, with a connection of our own to each server.
type sessions struct {
	t       *testing.T
	p       *harness.Proxy
	addr    string
	names   []string
	servers map[string]*harness.Redis
	spies   map[string]*spy
	keys    map[string][]string // of each group
}

// startSessions starts the pool "cache" over so many groups, g1 and up.
func startSessions(t *testing.T, groups int, lines ...string) *sessions {
	t.Helper()
	return startSessionsOver(t, groups, nil, lines...)
}

// startSessionsOver does the same with further lines of each redis.conf.
func startSessionsOver(t *testing.T, groups int, redisConfig []string, lines ...string) *sessions {
	t.Helper()
	s := &sessions{t: t, servers: map[string]*harness.Redis{}, spies: map[string]*spy{}}
	c := harness.NewConfig(t)
	c.Lines = append(c.Lines, "loops: 1")
	var list []string
	for i := range groups {
		g := fmt.Sprintf("g%d", i+1)
		r := harness.StartRedis(t, harness.RedisOptions{Config: redisConfig})
		s.names = append(s.names, g)
		s.servers[g], s.spies[g] = r, newSpy(t, r)
		list = append(list, r.Addr()+":1 "+g)
	}
	s.addr = c.ServersPool("cache", list, append([]string{"hash_tag: \"{}\""}, lines...)...)
	s.p = harness.StartProxy(t, c)
	s.p.WaitUp("cache")
	s.keys = keysIn(t, s.p, "cache", "s", 3)
	return s
}

// dial opens a connection of an application; hello is its protocol version, "" for one that does not say.
func (s *sessions) dial(hello string) *harness.Conn {
	s.t.Helper()
	c := dial(s.t, s.addr)
	if hello != "" {
		if r, err := c.Do("HELLO", hello); err != nil || r.Err() != nil {
			s.t.Fatalf("HELLO %s: %s, %v", hello, r.Text(), err)
		}
	}
	return c
}

// rest waits until no server has a connection with anything of a client's left on it.
func (s *sessions) rest() {
	s.t.Helper()
	for g, w := range s.spies {
		harness.Eventually(s.t, harness.Patience, "the links to "+g+" are clean", func() error { return w.strange() })
	}
}

// blocked waits until so many clients are blocked at the group's server.
func (s *sessions) blocked(group string, n int) {
	s.t.Helper()
	harness.Eventually(s.t, harness.Patience, fmt.Sprintf("%d clients are blocked at %s", n, group), func() error {
		return s.spies[group].counts("b", n)
	})
}

// spy is a connection of our own to a server.
type spy struct {
	t    *testing.T
	r    *harness.Redis
	conn *harness.Conn
}

func newSpy(t *testing.T, r *harness.Redis) *spy {
	t.Helper()
	w := &spy{t: t, r: r}
	w.again()
	return w
}

// again connects once more, after the server has been restarted.
func (w *spy) again() {
	w.t.Helper()
	w.conn = dial(w.t, w.r.Addr())
	want(w.t, w.conn, "OK", "CLIENT", "SETNAME", "spy")
}

// do asks the server itself.
func (w *spy) do(args ...string) harness.Reply {
	w.t.Helper()
	r, err := w.conn.Do(args...)
	if err != nil || r.Err() != nil {
		w.t.Fatalf("%s: %s: %s, %v", w.r.Name, strings.Join(args, " "), r.Text(), err)
	}
	return r
}

// links are the server's other connections, as CLIENT LIST describes them.
func (w *spy) links() []map[string]string {
	w.t.Helper()
	var links []map[string]string
	for line := range strings.Lines(w.do("CLIENT", "LIST").Str) {
		m := map[string]string{}
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			m[name] = value
		}
		if m["name"] != "spy" {
			links = append(links, m)
		}
	}
	return links
}

// strange describes a link that is not as new; nil if there is none.
func (w *spy) strange() error {
	w.t.Helper()
	for _, m := range w.links() {
		if m["flags"] != "N" || m["multi"] != "-1" || m["sub"] != "0" || m["psub"] != "0" || strings.Trim(m["ssub"], "0") != "" { // none before 7.0
			return fmt.Errorf("flags=%s multi=%s sub=%s psub=%s ssub=%s db=%s cmd=%s", m["flags"], m["multi"], m["sub"], m["psub"], m["ssub"], m["db"], m["cmd"])
		}
	}
	return nil
}

// counts says how many links have the flag, if it is another number than n.
func (w *spy) counts(flag string, n int) error {
	w.t.Helper()
	found := 0
	for _, m := range w.links() {
		if strings.Contains(m["flags"], flag) {
			found++
		}
	}
	if found != n {
		return fmt.Errorf("%d of the server's links have the flag %s, want %d", found, flag, n)
	}
	return nil
}

// blockedIn is nil if one of the servers has a client blocked.
func blockedIn(servers []*spy) error {
	var err error
	for _, w := range servers {
		if err = w.counts("b", 1); err == nil {
			return nil
		}
	}
	return err
}

// play performs a script: each line is the name of a connection, which is opened when it is first used, and a request, of which
// one reply is read. "A> ..." only sends, "A<" only reads, "A? ..." ignores what the reply says, "A~" waits until one of the
// servers has it blocked, "A!" closes. {t} is the tag. At the end each connection says ECHO, which shows what nobody has read.
// each gets what was read for each line, and ends the play with false.
func play(t *testing.T, addr string, servers []*spy, script, hello, tag string, each func(line, reply string) bool) {
	t.Helper()
	conns := map[string]*harness.Conn{}
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	act := func(line string) (string, error) {
		args := split(line)
		name, how := args[0][:1], args[0][1:]
		c := conns[name]
		if c == nil {
			c = dial(t, addr)
			conns[name] = c
			if r, err := c.Do("HELLO", hello); err != nil || r.Err() != nil {
				return "", fmt.Errorf("HELLO %s: %s, %w", hello, r.Text(), err)
			}
		}
		if how == "~" {
			harness.Eventually(t, harness.Patience, fmt.Sprintf("%s is blocked in %q", name, script), func() error { return blockedIn(servers) })
			return "", nil
		}
		if how == "!" {
			c.Close()
			delete(conns, name)
			return "", nil
		}
		if len(args) > 1 {
			if err := c.Write(harness.Encode(args[1:]...)); err != nil {
				return "", err
			}
		}
		if how == ">" {
			return "", nil
		}
		r, err := c.Receive()
		if how == "?" {
			return "", err
		}
		return string(r.Raw), err
	}
	lines := strings.Split(strings.ReplaceAll(script, "{t}", "{"+tag+"}"), "\n")
	for i := 0; i < len(lines); i++ {
		reply, err := act(lines[i])
		if err != nil {
			t.Errorf("%s: %s: %v", addr, lines[i], err)
			return
		}
		if !each(lines[i], reply) {
			return
		}
		if i == len(lines)-1 && !strings.HasSuffix(lines[i], " ECHO the-end") {
			for _, name := range slices.Sorted(maps.Keys(conns)) {
				lines = append(lines, name+" ECHO the-end")
			}
		}
	}
}

// oneAndThree are numbers of groups.
var oneAndThree = []int{1, 3}

// blamed is what the proxy adds to an error of one server out of several.
var blamed = regexp.MustCompile(` \(respgate: group 'g[0-9]'\)`)

// likeServer performs scripts through pools of so many groups, and at a server itself: every byte must be the same.
func likeServer(t *testing.T, groups []int, scripts map[string]string, protocols ...string) {
	plain := harness.StartRedis(t, harness.RedisOptions{})
	itself := []*spy{newSpy(t, plain)}
	scripts = known(itself[0], scripts)
	for _, groups := range groups {
		s := startSessions(t, groups)
		for _, hello := range protocols {
			for name, script := range scripts {
				tag := strings.ReplaceAll(fmt.Sprintf("%s-%s-%d", name, hello, groups), " ", "-")
				var expected []string
				play(t, plain.Addr(), itself, script, hello, tag, func(_, reply string) bool {
					expected = append(expected, reply)
					return true
				})
				i := 0
				play(t, s.addr, slices.Collect(maps.Values(s.spies)), script, hello, tag, func(line, reply string) bool {
					same := i < len(expected) && agrees(t, reply, expected[i])
					if !same {
						t.Errorf("%d groups, RESP%s, %s: %s: %q, want what Redis says: %q", groups, hello, name, line, reply, expected[i:min(i+1, len(expected))])
					}
					i++
					return same
				})
			}
		}
		s.rest()
	}
}

// leak is what a client may leave behind: the requests that make it and those that undo it. One that gets no reply ends with a dash.
type leak struct{ make, undo string }

// leaks use a key, a list and a stream of group g1.
var leaks = map[string]leak{
	"WATCH":                 {"WATCH {key}", "UNWATCH"},
	"MULTI":                 {"MULTI\nSET {key} stray\nINCR {key}", "DISCARD"},
	"broken MULTI":          {"MULTI\nSET {key} stray\nGET", "EXEC"},
	"WATCH and MULTI":       {"WATCH {key}\nMULTI\nGET {key}", "EXEC"},
	"SUBSCRIBE":             {"SUBSCRIBE stray", "UNSUBSCRIBE stray"},
	"PSUBSCRIBE":            {"PSUBSCRIBE stra*", "PUNSUBSCRIBE stra*"},
	"SSUBSCRIBE":            {"SSUBSCRIBE stray", "SUNSUBSCRIBE stray"},
	"SELECT":                {"SELECT 5\nMULTI\nSET {key} five\nEXEC", "SELECT 0"},
	"SELECT and WATCH":      {"SELECT 5\nWATCH {key}", "UNWATCH"},
	"HELLO 3":               {"HELLO 3\nWATCH {key}\nMULTI\nGET {key}\nEXEC", "HELLO 2"},
	"HELLO 3 and SUBSCRIBE": {"HELLO 3\nSUBSCRIBE stray", "UNSUBSCRIBE stray"},
	"TRACKING":              {"HELLO 3\nCLIENT TRACKING ON\nGET {key}", "CLIENT TRACKING OFF"},
	"TRACKING BCAST":        {"HELLO 3\nCLIENT TRACKING ON BCAST\nGET {key}", "CLIENT TRACKING OFF"},
	"REPLY OFF":             {"CLIENT REPLY OFF -\nMULTI -\nSET {key} stray -", "DISCARD -"},
	"REPLY SKIP":            {"WATCH {key}\nCLIENT REPLY SKIP -", "UNWATCH -"},
	"MONITOR":               {"MONITOR", "RESET"},
	"BLPOP":                 {"BLPOP {list} 0 -", ""},
	"XREAD":                 {"XREAD BLOCK 0 STREAMS {stream} 0 -", ""},
	"BLPOP and more":        {"BLPOP {list} 0 -\nSET {key} stray -\nMULTI -\nSET {key} stray -\nEXEC -", ""},
}

// TestSessionLeaks has one client leave every kind of state behind, in an orderly way or not, and another one take the only link
// that there may be: it finds nothing of the first.
func TestSessionLeaks(t *testing.T) {
	t.Parallel()
	for _, groups := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d groups", groups), func(t *testing.T) {
			t.Parallel()
			s := startSessions(t, groups, "session_links: 1")
			for name, l := range leaks {
				if !harness.ServerHas7(t) && name == "SSUBSCRIBE" {
					continue
				}
				for _, end := range []string{"undone", "FIN", "RST"} {
					if end != "undone" || l.undo != "" {
						s.leave(name+", "+end, l, end)
					}
					if t.Failed() {
						return
					}
				}
			}
		})
	}
}

// leave has one client leave a state behind and then another one look for it.
func (s *sessions) leave(what string, l leak, end string) {
	t := s.t
	t.Helper()
	key := s.keys["g1"][0]
	s.spies["g1"].do("SET", key, "zero")
	a := s.dial("")
	perform(t, a, what, l.make, key)
	if l.undo == "" {
		s.blocked("g1", 1)
	}
	switch end {
	case "undone":
		perform(t, a, what, l.undo, key)
	case "FIN":
		a.Close()
	case "RST":
		if err := a.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	for _, hello := range []string{"2", "3"} {
		s.unharmed(what, key, hello)
	}
	a.Close()
	s.rest()
}

// perform sends requests and reads a reply to each that has one, whatever it says.
func perform(t *testing.T, c *harness.Conn, what, requests, key string) {
	t.Helper()
	requests = strings.NewReplacer("{key}", key, "{list}", "list:{"+key+"}", "{stream}", "stream:{"+key+"}").Replace(requests)
	for line := range strings.Lines(requests) {
		args, silent := split(line), false
		if n := len(args) - 1; args[n] == "-" {
			args, silent = args[:n], true
		}
		if err := c.Write(harness.Encode(args...)); err != nil {
			t.Fatalf("%s: %s: %v", what, strings.TrimSpace(line), err)
		}
		if silent {
			continue
		}
		if r, err := c.Receive(); err != nil || strings.Contains(r.Str, "respgate") {
			t.Fatalf("%s: %s: %s, %v", what, strings.TrimSpace(line), r.Text(), err)
		}
	}
}

// unharmed does what a trace of the client before would show in: a transaction, and a blocking command, while what was watched or
// tracked is touched and messages are sent to whoever may still be subscribed.
func (s *sessions) unharmed(what, key, hello string) {
	t := s.t
	t.Helper()
	w, c := s.spies["g1"], s.dial(hello)
	defer c.Close()
	expect := func(raw string, args ...string) {
		t.Helper()
		r, err := c.Do(args...)
		if err != nil || string(r.Raw) != raw {
			t.Errorf("after %s, RESP%s: %s: %q (%v), want %q", what, hello, strings.Join(args, " "), r.Raw, err, raw)
		}
	}
	list, other := "list:{"+key+"}", "other:{"+key+"}"
	harness.Eventually(t, harness.Patience, "the link is free after "+what, func() error {
		r, err := c.Do("WATCH", other)
		if err == nil {
			err = r.Err()
		}
		return err
	})
	if got := w.do("GET", key).Text(); got != "zero" {
		t.Errorf("after %s: the key is %q: what its client did not finish was executed", what, got)
	}
	w.do("SET", key, "zero")
	w.do("PUBLISH", "stray", "message")
	if harness.ServerHas7(t) {
		w.do("SPUBLISH", "stray", "message")
	}
	null := map[string]string{"2": "$-1\r\n", "3": "_\r\n"}[hello]
	expect("+OK\r\n", "MULTI")
	expect("+QUEUED\r\n", "GET", key)
	expect("+QUEUED\r\n", "GET", other)
	expect("+QUEUED\r\n", "RPUSH", list, "x")
	expect("*3\r\n$4\r\nzero\r\n"+null+":1\r\n", "EXEC")
	expect(fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$1\r\nx\r\n", len(list), list), "BLPOP", list, "0")
	expect("+PONG\r\n", "PING")
}

// TestSessionCap holds that a pool lends as many links as it may, and lends them again.
func TestSessionCap(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3, "session_links: 2")
	key := s.keys["g1"][0]
	a, b, c := s.dial(""), s.dial(""), s.dial("")
	for _, conn := range []*harness.Conn{a, b} {
		if err := conn.Write(harness.Encode("BLPOP", key, "0")); err != nil {
			t.Fatal(err)
		}
	}
	s.blocked("g1", 2)
	for _, args := range [][]string{{"BLPOP", key, "0"}, {"WATCH", key}, {"SUBSCRIBE", "ch"}, {"MONITOR"}, {"BLPOP", key, "0"}} {
		r, err := c.Do(args...)
		if err != nil || !strings.HasPrefix(r.Text(), "-ERR respgate: ") || !strings.Contains(r.Str, "group 'g1'") || !strings.Contains(r.Str, "no session link free") {
			t.Errorf("%v: %s (%v), want an error with the group and \"no session link free\"", args, r.Text(), err)
		}
	}
	// In a transaction: the command is refused, and so is EXEC.
	want(t, c, "OK", "MULTI")
	if r, err := c.Do("SET", key, "1"); err != nil || !strings.Contains(r.Str, "no session link free") {
		t.Errorf("SET in MULTI: %s, %v", r.Text(), err)
	}
	wantPrefix(t, c, "-EXECABORT", "EXEC")
	// What needs no link of its own, and other groups, are served.
	want(t, c, "OK", "SET", s.keys["g1"][1], "1")
	want(t, c, "OK", "WATCH", s.keys["g2"][0])
	want(t, c, "OK", "UNWATCH")
	a.Close()
	harness.Eventually(t, harness.Patience, "a link is free", func() error {
		r, err := c.Do("WATCH", key)
		if err == nil {
			err = r.Err()
		}
		return err
	})
	want(t, c, "1", "RPUSH", key, "for b")
	if r, err := b.Receive(); err != nil || r.Text() != "["+key+" for b]" {
		t.Errorf("BLPOP: %s, %v", r.Text(), err)
	}
}

// TestSessionLinksAreUsedAgain has many clients work one after the other: the links that the first has opened serve all.
func TestSessionLinksAreUsedAgain(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 1)
	key := s.keys["g1"][0]
	ids := func() map[string]bool {
		m := map[string]bool{}
		for _, link := range s.spies["g1"].links() {
			if cmd := link["cmd"]; cmd != "command" && cmd != "NULL" { // the proxy asks for the commands on a connection of its own
				m[link["id"]] = true
			}
		}
		return m
	}
	var first map[string]bool
	for i := range 20 {
		c := s.dial("")
		want(t, c, "OK", "WATCH", key)
		want(t, c, "OK", "MULTI")
		want(t, c, "QUEUED", "RPUSH", key, "x")
		want(t, c, "[1]", "EXEC")
		want(t, c, "["+key+" x]", "BLPOP", key, "0")
		c.Close()
		if i == 0 {
			first = ids()
		}
	}
	for id := range ids() {
		if !first[id] {
			t.Errorf("link %s was opened for a later client", id)
		}
	}
}

// TestSessionCrowd has clients of all kinds come and go at random moments; everything is given back.
func TestSessionCrowd(t *testing.T) {
	t.Parallel()
	s := startSessions(t, 3, "session_links: 100")
	before := s.p.Baseline()
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			key := s.keys[s.names[i%3]][0]
			for j := range 5 {
				c, err := harness.Dial(s.addr)
				if err != nil {
					t.Error(err)
					return
				}
				text := []string{
					harness.Encode("MULTI") + harness.Encode("INCR", key), harness.Encode("SUBSCRIBE", "a", "b"), harness.Encode("BLPOP", "list:{"+key+"}", "0"),
					harness.Encode("HELLO", "3") + harness.Encode("CLIENT", "TRACKING", "ON") + harness.Encode("GET", key), harness.Encode("MONITOR"),
					harness.Encode("WATCH", key), harness.Encode("SELECT", "3") + harness.Encode("SET", key, "1"),
				}[(i+j)%7]
				err = c.Write(text)
				if err == nil && j%2 == 0 && (i+j)%7 != 2 {
					_, err = c.Receive()
				}
				if err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				if j%3 == 0 {
					err = c.Reset()
				} else {
					c.Close()
				}
				if err != nil && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s.rest()
	harness.Eventually(t, harness.Patience, "every link can be lent again", func() error {
		c, err := harness.Dial(s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		r, err := c.Do("WATCH", s.keys["g1"][0])
		if err == nil {
			err = r.Err()
		}
		return err
	})
	after, err := s.p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if limit := before.FDs + 3*100; after.FDs > limit {
		t.Errorf("%d descriptors, want at most %d: those before and the session links", after.FDs, limit)
	}
}
