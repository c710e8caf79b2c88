package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"respgate/conf"
	"respgate/engine/report"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

const onePool = `
admin: {listen: 127.0.0.1:7079}
pools:
  cache:
    listen: 127.0.0.1:6401
    sentinels: [10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379]
    groups: [g1]
`

// bubble runs f with a world that has started from text, and closes it.
func bubble(t *testing.T, text string, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.start(text); err != nil {
			t.Fatal(err)
		}
		defer w.ctl.Close()
		synctest.Wait()
		f(t, w)
	})
}

func up(master string, epoch uint64) sentinelclient.GroupView {
	a, err := sentinelclient.ParseAddress(master)
	if err != nil {
		panic(err)
	}
	return sentinelclient.GroupView{State: sentinelclient.GroupUp, Master: a, Epoch: epoch, Authority: true, Vouched: "sentinels"}
}

func viewOf(pool string, groups map[string]sentinelclient.GroupView) *sentinelclient.View {
	return &sentinelclient.View{Pool: pool, Ready: true, Groups: groups}
}

// Whoever delivers never waits for control, and a switch can always be ended, even when callers are refused.
func TestBusy(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		asked := make(chan struct{})
		w.latest("cache").failing("promote", func(context.Context) error { <-asked; return errors.New("no") })
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
		synctest.Wait()
		ctx := t.Context()
		var switched error
		go func() { _, switched = w.ctl.Switch(ctx, "cache", "g1") }()
		synctest.Wait()
		if !held(w.plane.current(), "cache", "g1") {
			t.Fatal("the switch holds nothing")
		}
		release := w.plane.close()
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.2:6379", 2)}))
		synctest.Wait() // control is within Apply now
		for range maxCalls {
			if !w.ctl.box.call(func() {}) {
				t.Fatal("refused too early")
			}
		}
		for range 10 {
			w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.3:6379", 3)}))
			w.ctl.Notice(report.Event{Kind: report.EventTimeout, Pool: "cache", Group: "g1"})
		}
		if _, err := w.ctl.Route("cache", []string{"k"}); !errors.Is(err, errBusy) {
			t.Errorf("one call too many: %v, want %v", err, errBusy)
		}
		close(asked)
		synctest.Wait()
		release()
		if switched == nil || held(w.plane.current(), "cache", "g1") {
			t.Errorf("the pause was not lifted: %v", switched)
		}
		if g, _ := w.plane.current().Pool("cache").Group("g1"); g.Master.Name != "10.0.1.3:6379" {
			t.Errorf("the newest view was lost: %s", g.Master.Name)
		}
	})
}

// A switch whose caller ends is given up; one that Sentinel was asked for already, when its own time is over.
func TestSwitchGivenUp(t *testing.T) {
	for when, want := range map[string]string{"drain": context.Canceled.Error(), "failover": context.DeadlineExceeded.Error(), "wait": "TIMEOUT no switch to 10.0.1.2:6379"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, onePool, func(t *testing.T, w *world) {
				w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
				synctest.Wait()
				switch when {
				case "drain":
					w.plane.set("cache", "g1", func(g *report.Group) { g.Inflight = 1 })
				case "failover":
					w.latest("cache").failing("promote", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { _, err := w.ctl.Switch(ctx, "cache", "g1"); done <- err }()
				synctest.Wait()
				if !held(w.plane.current(), "cache", "g1") {
					t.Fatal("nothing is held")
				}
				cancel()
				if err := <-done; err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
				synctest.Wait()
				if held(w.plane.current(), "cache", "g1") {
					t.Error("still paused")
				}
				if left := w.ctl.Ready(); len(left) > 0 {
					t.Error(left)
				}
			})
		})
	}
}

// Sentinel is not asked while a loop may still be sending.
func TestSwitchNeedsItsHold(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		w.latest("cache").failing("promote", func(context.Context) error { t.Error("asked"); return errors.New("no") })
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
		synctest.Wait()
		w.plane.refuseWith(errors.New("no"))
		_, err := w.ctl.Switch(t.Context(), "cache", "g1")
		if e := (*Error)(nil); !errors.As(err, &e) || e.Code != "TIMEOUT" || !strings.Contains(e.Text, "could not be held") {
			t.Errorf("%v", err)
		}
		w.plane.refuseWith(nil)
		pass(applyAgain)
		if held(w.plane.current(), "cache", "g1") {
			t.Error("still paused")
		}
	})
}

// The caller of a switch ends, as it does with the proxy: before Sentinel was asked that ends the switch as well, and after it
// nothing does.
func TestSwitchOutlivesItsCaller(t *testing.T) {
	for step, want := range map[string]string{"fence": "ERR failover: the proxy is shutting down: nothing was changed", "promote": ""} {
		t.Run(step, func(t *testing.T) {
			bubble(t, onePool, func(t *testing.T, w *world) {
				s := w.latest("cache")
				s.deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
				synctest.Wait()
				gate := make(chan struct{})
				s.failing(step, func(ctx context.Context) error {
					<-gate
					if step == "fence" {
						return nil
					}
					return ctx.Err()
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { _, err := w.ctl.Switch(ctx, "cache", "g1"); done <- err }()
				synctest.Wait()
				cancel()
				close(gate)
				synctest.Wait()
				s.deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.2:6379", 2)}))
				if err := <-done; want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
					t.Errorf("%v, want %q", err, want)
				}
				if asked := strings.Contains(w.news(), ": promote g1"); asked != (want == "") {
					t.Errorf("Sentinel was asked: %t", asked)
				}
			})
		})
	}
}

// Everything may be called while control ends, and after that; nobody hangs.
func TestCloseWhileOthersCall(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		release := w.plane.close()
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}))
		synctest.Wait() // control is within Apply now
		ctx := t.Context()
		calls := map[string]func(){
			"Pools": func() { w.ctl.Pools("") }, "Masters": func() { w.ctl.Masters("", "") }, "Sentinels": func() { w.ctl.Sentinels("") }, "Sessions": func() { w.ctl.Sessions("") },
			"Managers": func() { w.ctl.Managers("") }, "Process": func() { w.ctl.Process() }, "Ready": func() { w.ctl.Ready() },
			"Config": func() { w.ctl.Config() }, "HasGroup": func() { w.ctl.HasGroup("cache", "g1") }, "Close": w.ctl.Close,
			"Reload": func() { _, _ = w.ctl.Reload(false) }, "Rotate": func() { _ = w.ctl.Rotate("cache", "", 0) },
			"Switch":   func() { _, _ = w.ctl.Switch(ctx, "cache", "g1") },
			"SwitchTo": func() { _, _ = w.ctl.SwitchTo(ctx, "cache", "g1", "10.0.1.9", 6379) },
			"Notice":   func() { w.ctl.Notice(report.Event{Pool: "cache", Group: "g1"}) },
		}
		var wg sync.WaitGroup
		for range 3 {
			for _, f := range calls {
				wg.Go(f)
			}
		}
		synctest.Wait()
		release()
		wg.Wait()
		for name, f := range calls {
			f()
			if left := w.ctl.Ready(); !cmp.Equal(left, []string{errStopped.Error()}) {
				t.Errorf("after %s: %v", name, left)
			}
		}
		if _, err := w.ctl.Reload(false); !errors.Is(err, errStopped) {
			t.Errorf("reload: %v, want %v", err, errStopped)
		}
		if _, err := w.ctl.Switch(ctx, "cache", "g1"); !errors.Is(err, errStopped) {
			t.Errorf("switch: %v, want %v", err, errStopped)
		}
	})
}

// Two reloads at once: what is read first is taken over first, or the older file would win.
func TestReloadsInOrder(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		var mu sync.Mutex
		loading, most := 0, 0
		load := w.ctl.opts.Load
		w.ctl.opts.Load = func() (*conf.Config, error) {
			mu.Lock()
			loading++
			most = max(most, loading)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			loading--
			mu.Unlock()
			return load()
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _, _ = w.ctl.Reload(false) })
		}
		wg.Wait()
		if most != 1 {
			t.Errorf("%d reloads at once", most)
		}
	})
}

// A configuration that was handed out is not written to; and a default of proxy_id does not follow admin.listen.
func TestReloadLeavesConfigAlone(t *testing.T) {
	bubble(t, onePool+"  web: {listen: 127.0.0.1:6402, manager: {addresses: [10.0.0.9:7078], cluster: web}}\n", func(t *testing.T, w *world) {
		first := w.ctl.Config()
		digest, id := first.Digest, first.ProxyID
		if _, err := w.reload("# a word\n"+onePool+"  web: {listen: 127.0.0.1:6402, manager: {addresses: [10.0.0.9:7078], cluster: web}}\n", false); err != nil {
			t.Fatal(err)
		}
		if first.Digest != digest || w.ctl.Config().Digest == digest {
			t.Errorf("digest: %s, now %s", first.Digest, w.ctl.Config().Digest)
		}
		moved := strings.Replace(onePool, "7079", "7999", 1) + "  web: {listen: 127.0.0.1:6402, manager: {addresses: [10.0.0.9:7078], cluster: web}}\n"
		if _, err := w.reload(moved, false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.latestManager("web").cfg.ProxyID; got != id || w.ctl.Config().ProxyID != id {
			t.Errorf("proxy id %s, was %s", got, id)
		}
	})
}

// A ring that cannot be built refuses the file, dry or not, and is not even tried on what is served.
func TestReloadOfImpossibleRing(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		before := w.plane.current()
		bad := parse(t, onePool)
		bad.Pools["cache"].Groups = []conf.Group{{Name: "g1", Weight: 1}, {Name: "g1", Weight: 1}}
		bad.Pools["other"] = &conf.Pool{Name: "other", Servers: []conf.Server{{Host: "10.0.0.1", Port: 6379, Weight: 1}}}
		w.file = bad
		for _, dry := range []bool{true, false} {
			lines, err := w.ctl.Reload(dry)
			if err == nil || !strings.Contains(err.Error(), "pool 'cache': two nodes with the same name") {
				t.Errorf("dry %t: %v, %v", dry, lines, err)
			}
		}
		if e := w.ctl.Process().ConfigError; !strings.Contains(e, "two nodes") {
			t.Errorf("config error %q", e)
		}
		if w.plane.current() != before || w.plane.tried != 1 {
			t.Errorf("%d snapshots were tried", w.plane.tried)
		}
	})
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.plane.refuse = errors.New("pool 'cache': listen on 127.0.0.1:6401: address already in use")
		if err := w.start(onePool); !errors.Is(err, w.plane.refuse) || w.ctl != nil {
			t.Errorf("%v", err)
		}
		if got := w.news(); got != "ports: rollback" {
			t.Errorf("%s", got)
		}
	})
}

// Events are taken in the order in which they came, the newest of a kind, and none of a master that is history in the
// place of one of the master in force.
func TestEventsInOrder(t *testing.T) {
	b := inbox{wake: make(chan struct{}, 1)}
	put := func(kind report.EventKind, generation uint64) {
		b.event(report.Event{Kind: kind, Pool: "p", Group: "g", Generation: generation})
	}
	put(report.EventLinkLost, 2)
	put(report.EventDemoted, 2)
	put(report.EventLinkUp, 2)
	put(report.EventLinkLost, 2)
	put(report.EventDemoted, 1)
	taken := b.take()
	var got []string
	for _, ev := range taken.inOrder() {
		got = append(got, fmt.Sprint(ev.Kind, " ", ev.Generation))
	}
	if d := cmp.Diff([]string{"demoted 2", "link-up 2", "link-lost 2"}, got); d != "" {
		t.Error(d)
	}
}

// However many names there are, so many are asked at once, and none outlives control.
func TestLookupsAreBounded(t *testing.T) {
	var servers []string
	for i := range 40 {
		servers = append(servers, fmt.Sprintf(`"h%d.example:6379:1"`, i))
	}
	text := "admin: {listen: \"\"}\npools: {legacy: {listen: 127.0.0.1:6403, servers: [" + strings.Join(servers, ", ") + "]}}\n"
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 40 {
			w.names[fmt.Sprintf("h%d.example", i)] = answer{stall: true}
		}
		if err := w.start(text); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.lookedUp(); n != maxLookups {
			t.Errorf("%d lookups at once, want %d", n, maxLookups)
		}
		pass(lookupTimeout)
		pass(lookupTimeout)
		if n := w.lookedUp(); n < 40 {
			t.Errorf("%d of 40 names were asked for", n)
		}
		for i := range 40 {
			w.setName(fmt.Sprintf("h%d.example", i), answer{addrs: []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.7")}})
		}
		pass(3 * lookupTimeout)
		for _, g := range w.plane.current().Pool("legacy").Groups {
			if len(g.Master.Addrs) != 1 || g.Master.Addrs[0] != netip.MustParseAddrPort("10.0.0.7:6379") {
				t.Errorf("%s: %v", g.Name, g.Master.Addrs)
			}
		}
		w.setName("h0.example", answer{stall: true})
		w.ctl.Notice(report.Event{Kind: report.EventDialFailed, Pool: "legacy", Group: "h0.example:6379", Generation: w.plane.current().Pool("legacy").Groups[0].Master.Generation})
		synctest.Wait()
		w.ctl.Close() // the bubble would report a lookup that stayed
	})
}

// The words of the resolver's errors do not change from one attempt to the next.
func TestSteady(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: "x", Server: "127.0.0.53:53", IsNotFound: true}, "no such host"},
		{&net.DNSError{Err: "read udp 127.0.0.1:40001->127.0.0.53:53: i/o timeout", IsTimeout: true}, "no answer from the name server"},
		{&net.DNSError{Err: "read udp 127.0.0.1:40001->127.0.0.53:53: connection refused"}, "the name server failed"},
		{context.DeadlineExceeded, "no answer from the name server"},
		{errors.New("other"), "other"},
	} {
		if got := steady(fmt.Errorf("lookup: %w", tt.err)).Error(); got != tt.want && !strings.HasSuffix(got, tt.want) {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

// Without a difference there is no snapshot, however often somebody asks or tells.
func TestQuiet(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		for i := range 100 {
			w.latest("cache").deliver(&sentinelclient.View{Pool: "cache", Serial: uint64(i), Ready: true, Groups: map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 1)}})
			w.ctl.Pools("")
			synctest.Wait()
		}
		pass(time.Hour)
		if w.plane.tried != 2 {
			t.Errorf("%d snapshots, want the first and the master's", w.plane.tried)
		}
	})
}

func TestRows(t *testing.T) {
	bubble(t, onePool+"  web: {listen: 127.0.0.1:6402, manager: {addresses: [10.0.0.9:7078], cluster: web}}\n", func(t *testing.T, w *world) {
		c := w.ctl
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": up("10.0.1.1:6379", 7)}))
		w.plane.set("cache", "g1", func(g *report.Group) {
			*g = report.Group{Inflight: 3, Held: 2, Timeouts: 4, Late: 5, Retried: 6, Sessions: 8, SessionsIdle: 9, SessionsRefused: 10}
		})
		synctest.Wait()
		rows, err := c.Route("cache", []string{"k"})
		if err != nil || len(rows) != 1 || rows[0].Group != "g1" || rows[0].Master != "10.0.1.1:6379" {
			t.Errorf("route: %+v, %v", rows, err)
		}
		for pool, code := range map[string]string{"web": "NOTREADY", "none": "NOPOOL"} {
			_, err := c.Route(pool, nil)
			if e := (*Error)(nil); !errors.As(err, &e) || e.Code != code {
				t.Errorf("route of %s: %v, want %s", pool, err, code)
			}
		}
		if p := c.Pools("cache"); len(p) != 1 || p[0].Inflight != 3 || p[0].Held != 2 || p[0].Epoch != 7 || p[0].State != "up" {
			t.Errorf("pools: %+v", p)
		}
		if m := c.Masters("cache", "g1"); len(m) != 1 || m[0].Failed != 4 || m[0].Retried != 6 || m[0].Authority != "sentinels" || m[0].SessionLinks != 8 || m[0].SessionIdle != 9 || m[0].SessionLimit != 1000 || m[0].SessionsRefused != 10 {
			t.Errorf("masters: %+v", m)
		}
		if s := c.Sessions(""); len(s) != 2 || s[0].Pool != "cache" || s[0].Links != 8 || s[0].Idle != 9 || s[0].Limit != 1000 || s[0].Busiest != "g1" || s[0].Refused != 10 || s[1].Links != 0 {
			t.Errorf("sessions: %+v", s)
		}
		if s := c.Sentinels(""); len(s) != 3 || s[0].Address != "10.0.0.1:26379" || s[0].State != "watching" {
			t.Errorf("sentinels: %+v", s)
		}
		if m := c.Managers("web"); len(m) != 1 || m[0].Cluster != "web" {
			t.Errorf("managers: %+v", m)
		}
		if rows, err := c.Servers("cache", "g1"); err != nil || len(rows) != 1 || rows[0].Name != "10.0.1.1:6379" || rows[0].Network != "tcp" || !slices.Equal(rows[0].Addresses, []string{"10.0.1.1:6379"}) {
			t.Errorf("servers: %+v, %v", rows, err)
		}
		for _, of := range [][3]string{{"web", "", "NOTREADY"}, {"cache", "x", "NOGROUP"}, {"none", "", "NOPOOL"}} {
			if _, err := c.Servers(of[0], of[1]); !errors.As(err, new(*Error)) || !strings.HasPrefix(err.Error(), of[2]+" ") {
				t.Errorf("servers of %s %s: %v, want %s", of[0], of[1], err, of[2])
			}
		}
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{}))
		synctest.Wait()
		if rows, err := c.Servers("cache", ""); err != nil || len(rows) != 1 || rows[0].Name != "" || rows[0].Cause == "" {
			t.Errorf("servers without a master: %+v, %v", rows, err)
		}
		if _, err := c.Servers("cache", "g1"); err == nil || !strings.HasPrefix(err.Error(), "NOTREADY ") {
			t.Errorf("a group without a master: %v", err)
		}
		if !c.HasPool("cache") || c.HasPool("x") || !c.HasGroup("cache", "g1") || c.HasGroup("cache", "x") || c.HasGroup("x", "g1") {
			t.Error("what there is")
		}
		if cmds := c.Commands(); len(cmds) != 2 || cmds[0].Command != "get" || cmds[0].Calls != 7 {
			t.Errorf("commands: %+v", cmds)
		}
		if l := c.Latencies(); len(l) != 2 || len(l[0].Bounds) != report.LatencyBuckets-1 {
			t.Errorf("latencies: %d", len(l))
		}
		if tot := c.Totals(); len(tot) != 2 || tot[0].Pool != "cache" || tot[0].LateReplies != 5 {
			t.Errorf("totals: %+v", tot)
		}
		if p := c.Process(); p.Version != "test" || p.Serial != w.plane.current().Serial || len(p.Limits) != 15 || p.LogLevel != "INFO" {
			t.Errorf("process: %+v", p)
		}
		if err := c.Rotate("cache", "10.0.0.2", 26379); err != nil {
			t.Error(err)
		}
		for pool, code := range map[string]string{"web": "ERR", "none": "NOPOOL"} {
			if e := (*Error)(nil); !errors.As(c.Rotate(pool, "", 0), &e) || e.Code != code {
				t.Errorf("rotate of %s: %v, want %s", pool, e, code)
			}
		}
	})
}

// A manager's first word may come before its pool's Start has returned.
func TestManagerTellsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		text := "admin: {listen: \"\"}\npools: {web: {listen: 127.0.0.1:6402, manager: {addresses: [10.0.0.9:7078], cluster: web}}}\n"
		if err := w.start(text); err != nil {
			t.Fatal(err)
		}
		w.latestManager("web").deliver(managerclient.Topology{Version: 1, Groups: []managerclient.Group{{Name: "g1", Weight: 1}}, Sentinels: []string{"10.0.0.1:26379"}, FromDisk: true})
		synctest.Wait()
		if p := w.ctl.Pools("web"); p[0].Version != 1 || p[0].Groups != 1 {
			t.Errorf("%+v", p)
		}
		w.ctl.Close()
	})
}

// Authority may be lost before its end. Nobody vouches for the master from then on, however long the loops take to hold.
func TestAuthorityWithdrawn(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		g := up("10.0.1.1:6379", 1)
		g.LeaseUntil = time.Now().Add(3 * time.Second)
		tell := func() {
			w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": g}))
			synctest.Wait()
		}
		leases := func() string { return strings.Join(w.plane.leases(), "; ") }
		tell()
		if got := leases(); got != "cache/g1 is served for 3s" {
			t.Fatal(got)
		}
		release := w.plane.close()
		g.Authority, g.LeaseUntil, g.Vouched = false, time.Time{}, ""
		tell()
		if got := leases(); got != "cache/g1 is served for 0s" {
			t.Errorf("while the snapshot is on its way: %s", got)
		}
		release()
		g.Authority, g.LeaseUntil = true, time.Now().Add(2*time.Second)
		tell()
		if got := leases(); got != "cache/g1 is served for 2s" {
			t.Errorf("later: %s", got)
		}
	})
}

// A master is vouched for before it is served for the first time: there is no moment in which it may be served for ever.
func TestVouchedBeforeServed(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		release := w.plane.close()
		g := up("10.0.1.1:6379", 1)
		g.LeaseUntil = time.Now().Add(3 * time.Second)
		w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": g}))
		synctest.Wait()
		if got := strings.Join(w.plane.leases(), "; "); got != "cache/g1 is served for 3s" {
			t.Errorf("while its first snapshot is on its way: %q", got)
		}
		release()
	})
}

// TestRelieved: the data plane learns whether a master was alive when it was left.
func TestRelieved(t *testing.T) {
	bubble(t, onePool, func(t *testing.T, w *world) {
		for i, tt := range []struct {
			age  time.Duration // of the last answer of the one that is left next
			want bool          // of the one before
		}{{time.Second, false}, {2 * time.Second, true}, {0, false}, {0, true}} {
			name := fmt.Sprintf("10.0.1.%d:6379", i+1)
			v := up(name, uint64(i+1))
			v.VerifiedAt = time.Now().Add(-tt.age)
			w.latest("cache").deliver(viewOf("cache", map[string]sentinelclient.GroupView{"g1": v}))
			synctest.Wait()
			if g, _ := w.plane.current().Pool("cache").Group("g1"); g.Master.Name != name || g.Master.Relieved != tt.want {
				t.Errorf("%s: %+v", name, g.Master)
			}
		}
	})
}
