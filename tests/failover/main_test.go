// Package failover holds the fault matrix: each fault that the proxy has to live through is a test, TestFault01 to
// TestFault68, on real processes, under a load that keeps books. Where the fault is a sentinel that lies, the sentinels
// are the harness' own and the servers are real.
//
//	go test ./tests/failover                              the quick faults
//	go test ./tests/failover -args -soak 10m [-seed N]    a random one every few seconds, and then all of them
package failover

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

var (
	soakFlag = flag.Duration("soak", 0, "run the long faults as well, and TestSoak for so long")
	seedFlag = flag.Uint64("seed", 0, "of TestSoak: the order of its faults; 0 takes one and prints it")
)

// long are the tests that belong to the soak only. -run names them all the same.
var long = []string{"TestFault10", "TestSoak"}

func TestMain(m *testing.M) {
	flag.Parse()
	named := false
	flag.Visit(func(f *flag.Flag) { named = named || f.Name == "test.run" || f.Name == "test.skip" })
	if *soakFlag == 0 && !named {
		if err := flag.Set("test.skip", "^("+strings.Join(long, "|")+")"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	harness.Main(m)
}

// grace is what a busy machine may add to what takes the proxy some milliseconds.
const grace = 3 * time.Second

// What most tests say.
var (
	dial      = harness.Open
	want      = harness.Want
	wantError = harness.WantError
	untouched = harness.Untouched
	sound     = harness.Sound
	mebibytes = harness.Mebibytes
)

// patient are the lines of a pool whose requests may take their time: a busy machine is no fault. A test about time-outs
// says its own.
func patient(lines []string) []string {
	for _, line := range lines {
		if strings.HasPrefix(line, "timeout:") {
			return lines
		}
	}
	return append(lines[:len(lines):len(lines)], "timeout: 20s")
}

// stack starts a fleet and a proxy with one pool, "cache", over it, and waits until it serves and watches.
func stack(t *testing.T, o harness.FleetOptions, lines ...string) (*harness.Fleet, *harness.Proxy) {
	t.Helper()
	return harness.StartStack(t, o, patient(lines)...)
}

// proxyOf starts one more proxy over a fleet.
func proxyOf(t *testing.T, f *harness.Fleet, lines ...string) *harness.Proxy {
	t.Helper()
	return harness.StartProxyOver(t, f, patient(lines)...)
}

// takeover does something to the master of a group and waits until the proxy serves another one.
func takeover(t *testing.T, f *harness.Fleet, p *harness.Proxy, group string, act func(old *harness.Redis)) (old, fresh *harness.Redis) {
	t.Helper()
	old = f.WaitMaster(group, nil)
	act(old)
	fresh = f.WaitMaster(group, old)
	p.WaitMaster("cache", group, fresh.Addr())
	return old, fresh
}

// byHand has Sentinel fail the group over while its master lives.
func byHand(t *testing.T, f *harness.Fleet, p *harness.Proxy, group string) (old, fresh *harness.Redis) {
	t.Helper()
	return takeover(t, f, p, group, func(*harness.Redis) { f.Failover(group) })
}

// stage is a proxy whose sentinels say what a test lets them say; its servers are real.
type stage struct {
	t       *testing.T
	groups  []string
	fakes   []*harness.FakeSentinel
	servers map[string]*harness.Redis
	proxy   *harness.Proxy
}

// setStage starts a server for each group, three sentinels that name them with epoch 1, and a proxy with the pool
// "cache", and waits until it serves.
func setStage(t *testing.T, groups []string, lines ...string) *stage {
	t.Helper()
	s := newStage(t, groups)
	s.open(s.sentinels(), lines...)
	s.proxy.WaitUp("cache")
	s.proxy.WaitWatching("cache")
	return s
}

func newStage(t *testing.T, groups []string) *stage {
	t.Helper()
	s := &stage{t: t, groups: groups, servers: map[string]*harness.Redis{}}
	for _, g := range groups {
		s.servers[g] = harness.StartRedis(t, harness.RedisOptions{})
	}
	for range 3 {
		fake := harness.StartFakeSentinel(t, 2)
		for g, r := range s.servers {
			fake.Name(g, "127.0.0.1", r.Port, 1)
		}
		s.fakes = append(s.fakes, fake)
	}
	return s
}

func (s *stage) sentinels() []string {
	var addrs []string
	for _, fake := range s.fakes {
		addrs = append(addrs, fake.Addr())
	}
	return addrs
}

// open starts the proxy, over these sentinels.
func (s *stage) open(sentinels []string, lines ...string) {
	s.t.Helper()
	c := harness.NewConfig(s.t)
	c.Pool("cache", append(harness.SentinelLines(s.groups, sentinels, harness.FleetOptions{}), patient(lines)...)...)
	s.proxy = harness.StartProxy(s.t, c)
}

// announce lets every sentinel name the address, and say so.
func (s *stage) announce(group, host string, port, epoch int) {
	for _, fake := range s.fakes {
		fake.Switch(group, host, port, epoch)
	}
}

func (s *stage) load(change ...func(*harness.LedgerOptions)) *harness.Ledger {
	s.t.Helper()
	o := harness.LedgerOptions{Addr: s.addr(), Groups: s.groups, Route: s.proxy.Route("cache")}
	for _, f := range change {
		f(&o)
	}
	return harness.StartLedger(s.t, o)
}

func (s *stage) addr() string { return s.proxy.Config.Addr("cache") }

// row is the group's row on the console.
func (s *stage) row(group string) map[string]string {
	s.t.Helper()
	return s.proxy.Master("cache", group)
}

// waitError asks again until the request fails with a text that has the part in it.
func waitError(t *testing.T, c *harness.Conn, part string, args ...string) {
	t.Helper()
	harness.Eventually(t, 2*harness.Patience, fmt.Sprintf("an error with %q", part), func() error {
		got, err := c.Do(args...)
		if err == nil && (got.Kind != '-' || !strings.Contains(got.Str, part)) {
			err = errors.New(got.Text())
		}
		return err
	})
}

// waitReply asks again until the request is answered so.
func waitReply(t *testing.T, c *harness.Conn, text string, args ...string) {
	t.Helper()
	harness.Eventually(t, 2*harness.Patience, fmt.Sprintf("%s is answered %q", strings.Join(args, " "), text), func() error {
		got, err := c.Do(args...)
		if err == nil && got.Text() != text {
			err = errors.New(got.Text())
		}
		return err
	})
}

// keyIn finds a key of the group.
func keyIn(t *testing.T, p *harness.Proxy, group string) string {
	t.Helper()
	var keys []string
	for i := range 200 {
		keys = append(keys, harness.Scatter("k:", i))
	}
	for i, g := range p.Route("cache")(keys) {
		if g == group {
			return keys[i]
		}
	}
	t.Fatalf("none of 200 keys goes to group %s", group)
	return ""
}

// pipelined lets some connections of a load send four requests in one write: their replies come in that order, with what they sent.
func pipelined(o *harness.LedgerOptions) { o.Pipeline = pipelines }

const pipelines = 2

// crashed is sound for a group whose master was killed: what it had acknowledged in that moment, and not yet sent to its
// replica, is gone, one write a connection at the most, and three where it pipelines. No proxy can help that.
func crashed(t *testing.T, r harness.GroupReport, pipelines int) {
	t.Helper()
	most := 4 + 2*pipelines
	if r.Failed() > most || r.Lost > most || r.Stale > most || r.Duplicates > 0 || r.Wrong > 0 {
		t.Errorf("only what was in flight may fail or be lost: %v", r)
	}
}

// waitRole waits until the server says it is that.
func waitRole(t *testing.T, r *harness.Redis, role string) {
	t.Helper()
	harness.Eventually(t, 2*harness.Patience, r.Addr()+" is made a "+role, func() error {
		now, err := r.Role()
		if err == nil && now != role {
			err = fmt.Errorf("it is a %s", now)
		}
		return err
	})
}

// stat is a number of the server's INFO.
func stat(t *testing.T, r *harness.Redis, section, name string) int {
	t.Helper()
	for line := range strings.Lines(r.Must("INFO", section).Str) {
		n := 0
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatalf("INFO %s: %q: %v", section, line, err)
			}
			return n
		}
	}
	t.Fatalf("INFO %s of %s has no %s", section, r.Name, name)
	return 0
}

// calls is how often the server has executed a command.
func calls(t *testing.T, r *harness.Redis, command string) int {
	t.Helper()
	n, err := r.Calls(command)
	if err != nil {
		t.Fatalf("%s: %v", r.Name, err)
	}
	return n
}

// probes are commands that nobody else sends here, one that reads and one that writes. Of keys that there are not they change nothing,
// so they come to a server by the one to whom they were sent and by no replication.
var probes = []string{"STRLEN", "PERSIST"}

// probe sends them to a group from some connections, which several loops of the proxy have.
func probe(t *testing.T, p *harness.Proxy, group string) {
	t.Helper()
	key := keyIn(t, p, group)
	for range 8 {
		c := dial(t, p.Config.Addr("cache"))
		for _, command := range probes {
			want(t, c, "0", command, key)
		}
	}
}

// unprobed checks that none of them has come to a server.
func unprobed(t *testing.T, r *harness.Redis) {
	t.Helper()
	for _, command := range probes {
		if n := calls(t, r, strings.ToLower(command)); n > 0 {
			t.Errorf("%d times %s was sent to %s, which was not the master any more", n, command, r.Addr())
		}
	}
}

// dials counts the connections to masters that the proxy has begun.
func dials(t *testing.T, p *harness.Proxy) float64 {
	t.Helper()
	n, err := p.Metric(`respgate_server_dials_total{pool="cache"}`)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dialled checks that since then they were at most fifty in a second.
func dialled(t *testing.T, p *harness.Proxy, before float64, since time.Time) {
	t.Helper()
	if n, limit := dials(t, p)-before, 50*(time.Since(since).Seconds()+1); n > limit {
		t.Errorf("%v connections to masters within %v, want at most 50 a second", n, time.Since(since))
	}
}

// waitLogged waits for a line of the log with such a level ("": any) and all of the parts.
func waitLogged(t *testing.T, p *harness.Proxy, level string, parts ...string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, fmt.Sprintf("a line of the log with %q", parts), func() error {
		for line := range strings.Lines(p.Log()) {
			found := strings.Contains(line, `"level":"`+level)
			for _, part := range parts {
				found = found && strings.Contains(line, part)
			}
			if found {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

// lasts waits until so much time has gone by since then: for faults that are a length of time.
func lasts(t *testing.T, since time.Time, d time.Duration) {
	t.Helper()
	harness.Eventually(t, d+harness.Patience, fmt.Sprintf("%v have gone by", d), func() error {
		if left := d - time.Since(since); left > 0 {
			return fmt.Errorf("%v left", left)
		}
		return nil
	})
}
