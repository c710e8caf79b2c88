package sentinelclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"respgate/internal/respconn"
)

const (
	longestPause = 3 * time.Second
	promotion    = 400 * time.Millisecond // from Sentinel's consent until the new master says so: 150 to 250 as measured
	leastPause   = promotion + 100*time.Millisecond
	mostBehind   = 8 << 20 // bytes that a replica may lack before the pause, which has to be enough to catch up
)

// readiness is what a planned switch of a group has to know, and was found to be
// in order.
type readiness struct {
	agreed    []Sentinel // a majority: a quorum is there, no failover runs; the active one first
	downAfter time.Duration
	replicas  []Address // every one that one of those could promote; all are connected
	valkey    int       // major version of the master, 0 of a Redis
}

// opinion is one sentinel's answer to the question whether a group can be failed
// over.
type opinion struct {
	from     Sentinel
	info     masterInfo
	replicas []sentinelReplica
	err      error
}

// sentinelReplica is a replica as a sentinel lists it.
type sentinelReplica struct {
	Address Address
	Why     string // it cannot be promoted, empty if it can
}

// survey asks all sentinels, the master and its replicas at once. An error is a
// *CommandError that says who is in the way.
func survey(ctx context.Context, cfg *Config, group string, master Address, first Address) (*readiness, error) {
	opinions := make([]opinion, len(cfg.Sentinels))
	var wg sync.WaitGroup
	for i, s := range cfg.Sentinels {
		wg.Go(func() { opinions[i] = opine(ctx, cfg, s, group, master) })
	}
	wg.Wait()
	slices.SortStableFunc(opinions, func(a, b opinion) int {
		return precedence(b, first) - precedence(a, first)
	})
	st := &readiness{}
	var refusals []string
	var last *CommandError
	for _, o := range opinions {
		if o.err != nil {
			refusals = append(refusals, o.err.Error())
			if ce := (*CommandError)(nil); errors.As(o.err, &ce) {
				last = ce
				if ce.Code == "INPROG" {
					return nil, ce
				}
			}
			continue
		}
		st.agreed = append(st.agreed, o.from)
		if st.downAfter == 0 || o.info.DownAfter < st.downAfter {
			st.downAfter = o.info.DownAfter
		}
	}
	if len(st.agreed) <= len(opinions)/2 {
		if last != nil && last.Code == "NOGROUP" {
			return nil, last
		}
		return nil, &CommandError{Code: "NOQUORUM", Text: fmt.Sprintf("%d of the %d sentinels of pool %s could fail it over: %s",
			len(st.agreed), len(opinions), cfg.Pool, strings.Join(refusals, "; "))}
	}
	if st.pause() < leastPause {
		return nil, &CommandError{Code: "ERR", Text: fmt.Sprintf("down-after-milliseconds is %d: writers can be paused for half of that, which may be over before the promotion is; set %d or more",
			st.downAfter.Milliseconds(), (2 * leastPause).Milliseconds())}
	}
	opinions = slices.DeleteFunc(opinions, func(o opinion) bool { return o.err != nil })
	return st, st.inspect(ctx, cfg, master, opinions)
}

// precedence puts the active sentinel before the others, both among those that
// agree and among the rest.
func precedence(o opinion, first Address) int {
	if o.from.Address == first {
		return 1
	}
	return 0
}

// pause is how long writers may be paused: PUBLISH is among what is paused, so
// Sentinel's hello waits, and its PINGs behind it. Half of the time after which
// it would call the master down leaves as much again for the last PONG.
func (st *readiness) pause() time.Duration { return min(longestPause, st.downAfter/2) }

// reserve is what has to be left of the pause when a sentinel is asked for the
// failover: what is written to the old master after it is lost.
func (st *readiness) reserve() time.Duration { return max(promotion, st.pause()/4) }

// opine asks one sentinel.
func opine(ctx context.Context, cfg *Config, s Sentinel, group string, master Address) opinion {
	o := opinion{from: s}
	a := askSentinel(s, cfg)
	defer a.close()
	ask := func(command string) (v respconn.Value) {
		if o.err != nil {
			return v
		}
		v, err := a.do(ctx, "SENTINEL", command, group)
		switch {
		case err != nil:
			o.err = fmt.Errorf("sentinel %v: %w", s.Address, tidy(err))
		case v.IsError():
			o.err = newCommandError(s.Address, printable(v.Str))
		}
		return v
	}
	ask("CKQUORUM")
	info, list := ask("MASTER"), ask("REPLICAS")
	if o.err != nil {
		return o
	}
	var err error
	if o.info, err = parseMasterInfo(info, group); err == nil {
		o.replicas, err = parseReplicas(list)
	}
	switch {
	case err != nil:
		o.err = fmt.Errorf("sentinel %v: %w", s.Address, err)
	case o.info.has("failover_in_progress"):
		o.err = &CommandError{Code: "INPROG", Text: fmt.Sprintf("sentinel %v: a failover of it is under way (%s)", s.Address, o.info.FailoverState)}
	case o.info.Address != master:
		o.err = fmt.Errorf("sentinel %v: its master is %v, not %v", s.Address, o.info.Address, master)
	case o.info.has("s_down"), o.info.has("o_down"):
		o.err = fmt.Errorf("sentinel %v: its master is down", s.Address)
	}
	return o
}

// parseReplicas reads SENTINEL REPLICAS. Those that Sentinel itself would not
// promote are told apart (redis src/sentinel.c, sentinelSelectSlave).
func parseReplicas(v respconn.Value) ([]sentinelReplica, error) {
	if v.Kind != respconn.Array || v.Null {
		return nil, errors.New("SENTINEL REPLICAS: not an array")
	}
	var list []sentinelReplica
	for _, e := range v.Elems {
		f, err := parseFields(e)
		if err != nil {
			return nil, fmt.Errorf("SENTINEL REPLICAS: %w", err)
		}
		var r sentinelReplica
		if r.Address, err = newAddress(f["ip"], f["port"]); err != nil {
			return nil, fmt.Errorf("SENTINEL REPLICAS: %w", err)
		}
		for _, flag := range strings.Split(f["flags"], ",") {
			switch flag {
			case "s_down", "o_down", "disconnected":
				r.Why = flag
			}
		}
		if f["slave-priority"] == "0" || f["replica-priority"] == "0" {
			r.Why = "its priority is 0"
		}
		list = append(list, r)
	}
	return list, nil
}

// inspect asks the master what it is, and every replica that could be promoted by
// one of those who agree, as any of them may be the one that does it, whether it
// is connected and not far behind, and would let the master in as its replica.
func (st *readiness) inspect(ctx context.Context, cfg *Config, master Address, agreed []opinion) error {
	refuse := func(format string, args ...any) error {
		return &CommandError{Code: "NOREPLICA", Text: fmt.Sprintf(format, args...)}
	}
	var by []Sentinel // who could promote each replica, the first of them
	var out []string
	for _, o := range agreed {
		for _, r := range o.replicas {
			text := r.Address.String() + " " + r.Why
			switch {
			case r.Why == "" && !slices.Contains(st.replicas, r.Address):
				st.replicas, by = append(st.replicas, r.Address), append(by, o.from)
			case r.Why != "" && !slices.Contains(out, text):
				out = append(out, text)
			}
		}
	}
	if len(st.replicas) == 0 {
		return refuse("master %v has no replica that could take over (%s)", master, strings.Join(append(out, fmt.Sprintf("%d known", len(out))), "; "))
	}
	a := askNode(master, cfg)
	defer a.close()
	offset, err := offsetOf(ctx, a, "master")
	if err != nil {
		return &CommandError{Code: "ERR", Text: err.Error()}
	}
	if err := mayDemote(ctx, a, cfg.Master.User); err != nil {
		return err
	}
	entry := entryOf(ctx, a)
	if v, err := a.do(ctx, "INFO", "server"); err == nil {
		text, _ := v.Text()
		major, _, _ := strings.Cut(infoFields(text)["valkey_version"], ".")
		st.valkey, _ = strconv.Atoi(major)
	}
	errs := make([]error, len(st.replicas))
	var wg sync.WaitGroup
	for i, r := range st.replicas {
		wg.Go(func() {
			a := askNode(r, cfg)
			defer a.close()
			have, err := offsetOf(ctx, a, "slave")
			switch {
			case err != nil:
				errs[i] = refuse("replica %v (sentinel %v could promote it)", err, by[i].Address)
			case offset-have > mostBehind:
				errs[i] = refuse("replica %v is %d bytes behind: wait until it has caught up", r, offset-have)
			default:
				errs[i] = admits(ctx, cfg, master, r, entry)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mayDemote asks a master whether it would take the commands that follow the
// promotion, when there is no way back. Redis 7 can tell, if the user may ask.
func mayDemote(ctx context.Context, a *asker, user string) error {
	for _, args := range [][]string{{"REPLICAOF", "NO", "ONE"}, {"CLIENT", "UNPAUSE"}} {
		v, err := a.do(ctx, append([]string{"ACL", "DRYRUN", cmp.Or(user, "default")}, args...)...)
		if err != nil {
			return &CommandError{Code: "ERR", Text: fmt.Sprintf("master %v: %v", a.addr, tidy(err))}
		}
		text, _ := v.Text()
		unknown := v.IsError() && strings.HasPrefix(v.Str, "ERR Command '") // it was renamed
		if unknown || !v.IsError() && text != "OK" {
			return &CommandError{Code: "NOPERM", Text: fmt.Sprintf("master %v: it could not be made a replica, which needs +replicaof and +client|unpause: %s", a.addr, clip(printable(cmp.Or(text, v.Str))))}
		}
	}
	return nil
}

// offsetOf is how far a node has got, from ROLE; an error, with its address, if
// it is not what it should be: a master, or a replica with a link to its master.
func offsetOf(ctx context.Context, a *asker, want string) (int64, error) {
	v, err := a.must(ctx, "ROLE")
	if err != nil {
		return 0, err
	}
	r, err := parseRole(v)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%v: %w", a.addr, err)
	case r.Name != want:
		return 0, fmt.Errorf("%v: it is a %s now", a.addr, r.Name)
	case want == "slave" && r.Link != "connected":
		return 0, fmt.Errorf("%v: its link to its master %v is %q: it must be connected", a.addr, r.Of, r.Link)
	}
	at := 1
	if want == "slave" {
		at = 4
	}
	return v.Elems[at].Int, nil
}
