package failover

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"respgate/tests/harness"
)

// kinds are some of the impostors.
func kinds(names ...string) map[string]harness.Impostor {
	all, some := harness.Impostors(), map[string]harness.Impostor{}
	for _, name := range names {
		some[name] = all[name]
	}
	return some
}

// beside gives a pool to each of these false sentinels, beside three that are good, and named first: every pool serves,
// says which sentinel is wrong, follows a switch, and the proxy's memory stays flat.
func beside(t *testing.T, impostors map[string]harness.Impostor) {
	t.Helper()
	s := newStage(t, []string{"g1"})
	c := harness.NewConfig(t)
	bad := map[string]string{}
	for kind, impostor := range impostors {
		bad[kind] = harness.Serve(t, impostor)
		lines := harness.SentinelLines(s.groups, append([]string{bad[kind]}, s.sentinels()...), harness.FleetOptions{})
		c.Pool(kind, append(lines, "sentinel_timeout: 1s", "sentinel_heartbeat: 300ms")...)
	}
	s.proxy = harness.StartProxy(t, c)
	for kind := range impostors {
		s.proxy.WaitUp(kind)
		want(t, dial(t, c.Addr(kind)), "OK", "SET", kind, "1")
		harness.Eventually(t, harness.Patience, kind+": the console says who is wrong, and one of the others is active", func() error {
			for _, row := range s.proxy.Rows("PROXY", "SENTINELS", kind) {
				if row["address"] == bad[kind] && (row["active"] == "1" || row["cause"] == "") {
					return fmt.Errorf("%v", row)
				}
			}
			if s.proxy.ActiveSentinel(kind) == "" {
				return fmt.Errorf("none is active")
			}
			return nil
		})
	}
	fresh := harness.StartRedis(t, harness.RedisOptions{})
	s.announce("g1", "127.0.0.1", fresh.Port, 2)
	for kind := range impostors {
		s.proxy.WaitMaster(kind, "g1", fresh.Addr())
		want(t, dial(t, c.Addr(kind)), "OK", "SET", kind, "2")
	}
	if rss, err := s.proxy.RSS(); err != nil || rss > mebibytes(128) {
		t.Errorf("%d MiB resident with %d false sentinels: %v", rss>>20, len(impostors), err)
	}
}

// TestFault36SlowSentinel has a sentinel that sends a byte each 200 ms.
func TestFault36SlowSentinel(t *testing.T) {
	t.Parallel()
	beside(t, kinds("dribbles"))
}

// TestFault37MuteSentinel has one that accepts and never answers.
func TestFault37MuteSentinel(t *testing.T) {
	t.Parallel()
	beside(t, kinds("mute"))
}

// TestFault38GarbageSentinel has something else at the port of a sentinel.
func TestFault38GarbageSentinel(t *testing.T) {
	t.Parallel()
	beside(t, kinds("http", "noise"))
}

// TestFault39TruncatedReply ends the connection in the middle of an answer, and before one.
func TestFault39TruncatedReply(t *testing.T) {
	t.Parallel()
	beside(t, kinds("truncated", "closes"))
}

// TestFault40HugeReply announces more than there is memory for.
func TestFault40HugeReply(t *testing.T) {
	t.Parallel()
	beside(t, kinds("huge-bulk", "huge-array", "negative", "deep", "endless"))
}

// TestFault41WrongTypes answers with other types than were asked for, and with addresses that are none.
func TestFault41WrongTypes(t *testing.T) {
	t.Parallel()
	impostors := kinds("wrong-types", "pongs", "errors")
	s := newStage(t, []string{"g1"})
	for kind, addr := range map[string][]string{
		"word": {"127.0.0.1", "abc"}, "zero": {"127.0.0.1", "0"}, "large": {"127.0.0.1", "70000"}, "empty": {"", "6379"}, "crlf": {"127.0.0.1\r\nx", "6379"},
	} {
		liar := harness.StartFakeSentinel(t, 2)
		liar.Name("g1", "127.0.0.1", s.servers["g1"].Port, 1)
		liar.Answer(func(args []string) (string, bool) {
			return harness.Encode(addr...), len(args) > 1 && strings.EqualFold(args[1], "get-master-addr-by-name")
		})
		impostors["address-"+kind] = through(liar.Addr())
	}
	beside(t, impostors)
}

// through forwards a connection to the address.
func through(addr string) func(net.Conn) {
	return func(c net.Conn) {
		to, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			_, _ = io.Copy(c, to)
			_ = c.Close()
			close(done)
		}()
		_, _ = io.Copy(to, c)
		_ = to.Close()
		<-done
	}
}

// TestFault42Unsolicited sends what nobody asked for, among good answers: messages of other channels and patterns, with
// fields too few and too many, and replies too many.
func TestFault42Unsolicited(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	l := s.load()
	l.Progress(50)
	for _, fake := range s.fakes {
		fake.Publish("+no-such-event", "g1")
		for _, payload := range []string{"", "g1", "g1 127.0.0.1 1 127.0.0.1", "g1 127.0.0.1 1 127.0.0.1 2 3", "g1 127.0.0.1 x 127.0.0.1 70000", "\r\n"} {
			fake.Publish("+switch-master", payload)
		}
	}
	l.Progress(50)
	beside(t, map[string]harness.Impostor{
		"message":   harness.Say(">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nx\r\n$1\r\ny\r\n"),
		"many":      harness.AnswerAll("+OK\r\n+OK\r\n:1\r\n"),
		"confirmed": harness.AnswerAll("*3\r\n$10\r\npsubscribe\r\n$5\r\nwrong\r\n:1\r\n"),
	})
	l.Progress(50)
	untouched(t, l.Finish(s.servers))
	if row := s.row("g1"); row["switches"] != "0" || row["master"] != s.servers["g1"].Addr() {
		t.Errorf("console: %v", row)
	}
}

// TestFault51SentinelRefusesUs has one sentinel that wants another password, and then only such: clients are told, and
// the sentinels are not asked without end.
func TestFault51SentinelRefusesUs(t *testing.T) {
	t.Parallel()
	beside(t, kinds("noauth", "wrongpass"))
	s := newStage(t, []string{"g1"})
	for _, fake := range s.fakes {
		fake.Answer(func([]string) (string, bool) { return "-NOAUTH Authentication required.\r\n", true })
	}
	began := time.Now()
	s.open(s.sentinels(), "hold: { timeout: 300ms }")
	conn := dial(t, s.addr())
	waitError(t, conn, "NOAUTH", "SET", "a", "1")
	wantError(t, conn, []string{"sentinel", "NOAUTH"}, "GET", "a")
	asked := 0
	for _, fake := range s.fakes {
		asked += fake.Asked("hello") + fake.Asked("auth") + fake.Asked("psubscribe")
	}
	if limit := 60 + 60*int(time.Since(began).Seconds()+1); asked > limit {
		t.Errorf("the sentinels were asked %d times in %v", asked, time.Since(began))
	}
	for _, fake := range s.fakes {
		fake.Answer(nil)
	}
	s.proxy.WaitUp("cache")
	want(t, conn, "OK", "SET", "a", "1")
}

// TestFault52NoRESP3 has sentinels that know RESP2 only: events and questions take two links.
func TestFault52NoRESP3(t *testing.T) {
	t.Parallel()
	s := newStage(t, []string{"g1"})
	for _, fake := range s.fakes {
		fake.Answer(func(args []string) (string, bool) {
			return "-ERR unknown command 'HELLO', with args beginning with: '3' \r\n", strings.EqualFold(args[0], "HELLO")
		})
	}
	s.open(s.sentinels())
	s.proxy.WaitUp("cache")
	s.proxy.WaitWatching("cache")
	fresh := harness.StartRedis(t, harness.RedisOptions{})
	s.announce("g1", "127.0.0.1", fresh.Port, 2)
	s.proxy.WaitMaster("cache", "g1", fresh.Addr())
	s.servers["g1"] = fresh
	l := s.load()
	l.Progress(100)
	untouched(t, l.Finish(s.servers))
	for _, fake := range s.fakes {
		if fake.Subscribers() == 0 {
			t.Error("nobody has subscribed to a sentinel")
		}
	}
}
