package sentinelclient

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
)

func TestParseEvent(t *testing.T) {
	a, b := Address{"127.0.0.1", 27001}, Address{"127.0.0.1", 27003}
	tests := []struct {
		channel, payload string
		want             event
		ok               bool
	}{
		{"+switch-master", "g1 127.0.0.1 27001 127.0.0.1 27003", event{name: "+switch-master", group: "g1", master: a, next: b}, true},
		{"+switch-master", "g1 fe80::1 27001 redis-2.lan 27003", event{name: "+switch-master", group: "g1", master: Address{"fe80::1", 27001}, next: Address{"redis-2.lan", 27003}}, true},
		{"+switch-master", "g1 127.0.0.1 27001 127.0.0.1", event{}, false},
		{"+switch-master", "g1 127.0.0.1 27001 127.0.0.1 27003 x", event{}, false},
		{"+switch-master", "g1 127.0.0.1 27001 127.0.0.1 0", event{}, false},
		{"+switch-master", "g1 127.0.0.1 27001 127.0.0.1 70000", event{}, false},
		{"+switch-master", "g1 127.0.0.1 27001  27003", event{}, false},
		{"+switch-master", "g1\r\n 127.0.0.1 27001 127.0.0.1 27003", event{}, false},
		{"+switch-master", " 127.0.0.1 27001 127.0.0.1 27003", event{}, false},
		{"+sdown", "master g1 127.0.0.1 27001", event{name: "+sdown", group: "g1", master: a}, true},
		{"+odown", "master g1 127.0.0.1 27001 #quorum 2/2", event{name: "+odown", group: "g1", master: a}, true},
		{"+sdown", "slave 127.0.0.1:27003 127.0.0.1 27003 @ g1 127.0.0.1 27001", event{name: "+sdown", group: "g1", master: a}, true},
		{"-role-change", "slave 127.0.0.1:27003 127.0.0.1 27003 @ g1 127.0.0.1 27001 new reported role is master", event{name: "-role-change", group: "g1", master: a}, true},
		{"+selected-slave", "slave 127.0.0.1:27003 127.0.0.1 27003 @ g1 127.0.0.1 27001", event{name: "+selected-slave", group: "g1", master: a, node: b}, true},
		{"+selected-slave", "slave x 127.0.0.1 0 @ g1 127.0.0.1 27001", event{name: "+selected-slave", group: "g1", master: a}, true},
		{"+elected-leader", "master g1 127.0.0.1 27001", event{name: "+elected-leader", group: "g1", master: a}, true},
		{"+slave-reconf-sent", "slave 127.0.0.1:27003 127.0.0.1 27003 @ g1 127.0.0.1 27001", event{name: "+slave-reconf-sent", group: "g1", master: a}, true},
		{"+sdown", "slave 127.0.0.1:27003 127.0.0.1 27003", event{}, false},
		{"+sdown", "slave 127.0.0.1:27003 127.0.0.1 27003 % g1 127.0.0.1 27001", event{}, false},
		{"+sdown", "master g1", event{}, false},
		{"+sdown", "", event{}, false},
		{"+tilt", "#tilt mode entered", event{name: "+tilt"}, true},
		{"-tilt", "", event{name: "-tilt"}, true},
	}
	for _, tt := range tests {
		got, err := parseEvent(tt.channel, tt.payload)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("%s %q: %+v, %v; want %+v", tt.channel, tt.payload, got, err, tt.want)
		}
	}
}

func TestParseMasterInfo(t *testing.T) {
	good := "g1 [fe80::1]:7001 config-epoch=7 flags=master,failover_in_progress failover-state=wait_promotion last-ok-ping-reply=250 quorum=3 num-slaves=4 num-other-sentinels=4"
	got, err := parseMasterInfo(masterReply(t, good), "g1")
	if err != nil {
		t.Fatal(err)
	}
	want := masterInfo{Address: Address{"fe80::1", 7001}, Flags: []string{"master", "failover_in_progress"}, Epoch: 7, LastOKPing: 250 * time.Millisecond,
		DownAfter: 5 * time.Second, Quorum: 3, Replicas: 4, Sentinels: 5, FailoverState: "wait_promotion"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"g2 10.0.0.1:7001", "g10 10.0.0.1:7001",
		"g1 10.0.0.1:7001 port=0", "g1 10.0.0.1:7001 port=abc", "g1 10.0.0.1:7001 port=+1", "g1 10.0.0.1:7001 port=",
		"g1 10.0.0.1:7001 ip=", "g1 10.0.0.1:7001 ip=a/b",
		"g1 10.0.0.1:7001 config-epoch=x", "g1 10.0.0.1:7001 config-epoch=-1", "g1 10.0.0.1:7001 config-epoch=99999999999999999999",
		"g1 10.0.0.1:7001 quorum=99999999", "g1 10.0.0.1:7001 num-slaves=-1", "g1 10.0.0.1:7001 last-ok-ping-reply=", "g1 10.0.0.1:7001 down-after-milliseconds=1.5",
	} {
		if m, err := parseMasterInfo(masterReply(t, bad), "g1"); err == nil {
			t.Errorf("%s: %+v", bad, m)
		}
	}
	// A time that no clock can hold is bounded, not wrapped.
	m, err := parseMasterInfo(masterReply(t, "g1 10.0.0.1:7001 last-ok-ping-reply=18446744073709551615"), "g1")
	if err != nil || m.LastOKPing != 1000*time.Hour {
		t.Errorf("%v, %v", m.LastOKPing, err)
	}
	for _, v := range []string{"_", ":1", "+OK", "*1 $name", "%1 $name *0", "*2 :1 $x"} {
		if _, err := parseMasterInfo(parseValue(t, v), "g1"); err == nil {
			t.Errorf("%s was accepted", v)
		}
	}
}

func TestParseRole(t *testing.T) {
	tests := []struct {
		in   string
		want role
		ok   bool
	}{
		{"*3 $master :5 *2 *3 $10.0.0.2 $7002 $5 *3 $10.0.0.3 $7003 $4", role{Name: "master", Replicas: []replica{{Address: Address{"10.0.0.2", 7002}}, {Address: Address{"10.0.0.3", 7003}}}}, true},
		{"*5 $slave $10.0.0.1 :7001 $connected :5", role{Name: "slave", Of: Address{"10.0.0.1", 7001}, Link: "connected"}, true},
		{"*5 $slave $ :0 $none :-1", role{Name: "slave", Link: "none"}, true},
		{"*2 $sentinel *1 $g1", role{Name: "sentinel"}, true},
		{"*3 $master :5 $x", role{}, false},
		{"*3 $master :5 *1 *2 $10.0.0.2 $7002", role{}, false},
		{"*3 $master :5 *1 *3 $10.0.0.2 $0 $1", role{}, false},
		{"*2 $slave $x", role{}, false},
		{"*2 $boss $x", role{}, false},
		{"*0", role{}, false},
		{"*-1", role{}, false},
		{"+master", role{}, false},
	}
	for _, tt := range tests {
		got, err := parseRole(parseValue(t, tt.in))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.in, err)
		} else if diff := cmp.Diff(tt.want, got); tt.ok && diff != "" {
			t.Errorf("%s: %s", tt.in, diff)
		}
	}
}

func TestParseReplication(t *testing.T) {
	text := "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmaster_repl_offset:9007199254740993\r\n" +
		"slave0:ip=10.0.0.2,port=7002,state=online,offset=5,lag=1\r\nslave1:ip=fe80::3,port=7003,state=wait_bgsave,offset=0,lag=0\r\n"
	got, err := parseReplication(text)
	want := role{Name: "master", Offset: 9007199254740993, Replicas: []replica{{Address{"10.0.0.2", 7002}, true, time.Second, 5}, {Address{"fe80::3", 7003}, false, 0, 0}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	got, err = parseReplication("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:7001\r\nmaster_link_status:up\r\n")
	if want := (role{Name: "slave", Of: Address{"10.0.0.1", 7001}, Link: "up"}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "role:\r\n", "role:master\r\nslave0:ip=,port=1\r\n", "role:master\r\nslave0:nonsense\r\n"} {
		if got, err := parseReplication(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, s := range []string{"10.0.0.1:6379", "[fe80::1]:1", "[fe80::1%eth0]:65535", "redis-1.lan:6379", "my_redis:6379"} {
		a, err := ParseAddress(s)
		if err != nil || a.String() != s {
			t.Errorf("%s: %v, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "x", ":6379", "x:", "x:0", "x:65536", "x:-1", "x:+1", "x:1a", "fe80::1:1", "a b:1", "a\r\nb:1", "-x:1", ".x:1", strings.Repeat("x", 256) + ":1"} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("%q: %v", s, a)
		}
	}
	if s := (Address{}).String(); s != "" {
		t.Errorf("zero: %q", s)
	}
}

// TestNoSecrets: a password is not in any way of printing what holds one.
func TestNoSecrets(t *testing.T) {
	const secret = "s3cr3t"
	c := Credentials{User: "u", Password: secret}
	s := Sentinel{Address: Address{"h", 1}, User: "u", Password: secret}
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "c", c, "s", s)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&b, format, c)
		fmt.Fprintf(&b, format, s)
	}
	fmt.Fprint(&b, send{wire: 1, args: c.auth()})
	if strings.Contains(b.String(), secret) {
		t.Errorf("it is told: %s", b.String())
	}
}

func TestForbidden(t *testing.T) {
	tests := []struct {
		listen, node Address
		want         bool
	}{
		{Address{"127.0.0.1", 6401}, Address{"127.0.0.1", 6401}, true},
		{Address{"127.0.0.1", 6401}, Address{"localhost", 6401}, true},
		{Address{"0.0.0.0", 6401}, Address{"127.0.0.1", 6401}, true},
		{Address{"::", 6401}, Address{"::1", 6401}, true},
		{Address{"", 6401}, Address{"127.0.0.2", 6401}, true},
		{Address{"0.0.0.0", 6401}, Address{"10.0.0.1", 6401}, false},
		{Address{"127.0.0.1", 6401}, Address{"127.0.0.1", 6402}, false},
		{Address{"10.0.0.9", 6401}, Address{"10.0.0.1", 6401}, false},
	}
	for _, tt := range tests {
		c := Config{Forbidden: []Address{tt.listen}}
		if got := c.forbids(tt.node); got != tt.want {
			t.Errorf("listening at %v, node %v: %v", tt.listen, tt.node, got)
		}
	}
}

func TestCommandErrors(t *testing.T) {
	for text, want := range map[string]string{
		"INPROG Failover already in progress":        "INPROG",
		"NOGOODSLAVE No suitable replica to promote": "NOREPLICA",
		"NOQUORUM 1 usable Sentinels. Not enough":    "NOQUORUM",
		"ERR No such master with that name":          "NOGROUP",
		"NOPERM this user has no permissions":        "NOPERM",
		"ERR whatever":                               "ERR",
	} {
		if e := newCommandError(Address{"s", 1}, text); e.Code != want || !strings.Contains(e.Error(), "sentinel s:1") {
			t.Errorf("%s: %v", text, e)
		}
	}
}

// eventNames are all that Sentinel publishes (Redis 2.8 to 8, Valkey), and one that
// it does not yet.
var eventNames = []string{
	"+switch-master", "+config-update-from", "+sdown", "-sdown", "+odown", "-odown", "+new-epoch", "+vote-for-leader",
	"+try-failover", "+elected-leader", "+failover-state-select-slave", "+selected-slave", "+failover-state-send-slaveof-noone",
	"+failover-state-wait-promotion", "+promoted-slave", "+failover-state-reconf-slaves", "+slave-reconf-sent", "+slave-reconf-sent-be",
	"+slave-reconf-inprog", "+slave-reconf-done", "-slave-reconf-sent-timeout", "+failover-end", "+failover-end-for-timeout", "+failover-detected",
	"-failover-abort-not-elected", "-failover-abort-no-good-slave", "-failover-abort-slave-timeout", "-failover-abort-master-is-back",
	"+convert-to-slave", "+fix-slave-config", "+role-change", "-role-change", "+reboot", "+slave", "+set", "+reset-master", "+monitor", "-monitor",
	"+sentinel", "-dup-sentinel", "+sentinel-address-switch", "+sentinel-address-update", "+sentinel-invalid-addr",
	"+tilt", "-tilt", "-script-error", "-script-timeout", "+something-new",
}

// TestEvents: every event of a sentinel is received, and each that names a group
// is a reason to ask for it.
func TestEvents(t *testing.T) {
	cfg := Config{}.withDefaults()
	var wires wireID
	l := newLink(1, Sentinel{Address: Address{"s", 1}}, &cfg, half, &wires, epoch0)
	l.setGroups(epoch0, []string{"g1"})
	send := func(line string) []action { return l.Step(epoch0, evValue{wires, parseValue(t, line)}) }
	l.Step(epoch0, evStart{})
	l.Step(epoch0, evConnected{1})
	send("%1 $proto :3")
	for _, p := range patterns {
		send(">3 $psubscribe $" + p + " :1")
	}
	for _, name := range eventNames {
		payload := "sentinel 8f 10.0.0.9 26379 @ g1 10.0.0.5 7001"
		switch {
		case name == "+switch-master":
			payload = "g1 10.0.0.5 7001 10.0.0.6 7002"
		case nameless(name):
			payload = "8f 12"
		}
		want, ignored := "heard "+name+" of \"g1\"\n", l.ignored
		if nameless(name) {
			want = ""
		}
		list := send(fmt.Sprintf(">4 $pmessage $%s* $%s %q", name[:1], name, "$"+payload))
		list = slices.DeleteFunc(list, func(a action) bool { _, ok := a.(heard); return !ok })
		if got := lines(list); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if l.ignored != ignored {
			t.Errorf("%s: ignored", name)
		}
	}
}

// FuzzEvent: whatever a payload is, it is refused, or names a group and a node
// that could be dialed.
func FuzzEvent(f *testing.F) {
	for _, p := range []string{"g1 127.0.0.1 27001 127.0.0.1 27003", "master g1 127.0.0.1 27001 #quorum 2/2",
		"slave 127.0.0.1:27003 127.0.0.1 27003 @ g1 fe80::1 27001", "g1 a 0 b 70000", "  ", "g1\r\n a 1 b 2", "#tilt mode entered"} {
		for _, c := range eventNames {
			f.Add(c, p)
		}
	}
	f.Fuzz(func(t *testing.T, channel, payload string) {
		e, err := parseEvent(channel, payload)
		if err != nil {
			if e != (event{}) {
				t.Fatalf("refused and told: %+v", e)
			}
			return
		}
		if e.name != channel {
			t.Fatalf("another event: %+v", e)
		}
		if nameless(channel) {
			if e.group != "" {
				t.Fatalf("a group: %+v", e)
			}
			return
		}
		if !validName(e.group) || strings.ContainsAny(e.group, " \r\n") || !strings.Contains(payload, e.group) {
			t.Fatalf("group %q", e.group)
		}
		for _, a := range []Address{e.master, e.next} {
			if a.IsZero() {
				continue
			}
			if b, err := ParseAddress(a.String()); err != nil || a != b {
				t.Fatalf("address %+v: %v", a, err)
			}
		}
		if e.master.IsZero() || e.next.IsZero() != (channel != "+switch-master") {
			t.Fatalf("addresses: %+v", e)
		}
	})
}

// FuzzLink feeds a link whatever passes the connection's caps, in every state.
func FuzzLink(f *testing.F) {
	f.Add("%1\r\n+proto\r\n:3\r\n>3\r\n$10\r\npsubscribe\r\n$2\r\n+*\r\n:1\r\n", uint8(0))
	f.Add("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n7001\r\n", uint8(2))
	f.Add("+PONG\r\n>4\r\n$8\r\npmessage\r\n$2\r\n+*\r\n$6\r\n+sdown\r\n$19\r\nmaster g1 10.0.0.1 1\r\n", uint8(3))
	f.Add("-ERR x\r\n_\r\n*-1\r\n*0\r\n>0\r\n", uint8(1))
	f.Fuzz(func(t *testing.T, stream string, how uint8) {
		cfg := Config{}.withDefaults()
		var wires wireID
		l := newLink(1, Sentinel{Address: Address{"s", 1}, Password: "pw"}, &cfg, half, &wires, epoch0)
		l.setGroups(epoch0, []string{"g1"})
		l.Step(epoch0, evStart{})
		l.Step(epoch0, evConnected{1})
		if how%4 > 0 {
			l.Step(epoch0, evValue{1, respconn.Simple("OK")})
			l.Step(epoch0, evValue{1, respconn.Value{Kind: respconn.Map}})
		}
		if how%4 > 1 {
			l.resp3 = how%8 > 3
			for _, p := range patterns {
				l.Step(epoch0, evValue{1, respconn.Value{Kind: respconn.Push, Elems: []respconn.Value{respconn.Bulk("psubscribe"), respconn.Bulk(p), respconn.Int(1)}}})
			}
			l.Step(epoch0, evConnected{2})
		}
		c := respconn.New(&stringConn{r: strings.NewReader(stream)}, respconn.Limits{})
		now := epoch0
		for {
			v, err := c.Receive()
			if err != nil {
				l.Step(now, evBroken{1, err})
				break
			}
			for id := wireID(1); id <= 2; id++ {
				if n := len(l.Step(now, evValue{id, v})); n > 200 {
					t.Fatalf("%d actions for one value", n)
				}
			}
			if n := len(l.sub.pending) + len(l.asking.pending); n > 32 {
				t.Fatalf("%d requests on their way", n)
			}
			now = now.Add(100 * time.Millisecond)
			l.Step(now, evTick{})
			l.Step(now, evQuery{group: "g1"})
		}
		if n := l.next(); n.IsZero() {
			t.Fatalf("it waits for nothing in %v", l.state)
		}
	})
}
