package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"respgate/internal/respconn"
)

const (
	switchPoll = 20 * time.Millisecond // between two looks at a sentinel's address
	forgotten  = 3 * time.Second       // a leader that told nobody of its new master for so long will not
	lookAgain  = 500 * time.Millisecond
)

// Promote asks a sentinel for the failover and returns the new master, verified,
// when the old one is its replica, or Standing says why it is not. Without an
// address nothing has changed, or nobody knows: the error says which. sure is
// asked last, right before the sentinel: an error of it ends the switch.
func (s *Switchover) Promote(ctx context.Context, sure func() error) (Address, error) {
	sentinel, err := s.ready(ctx, sure)
	if err != nil {
		return Address{}, err
	}
	defer func() { sentinel.close() }()
	if err := s.consent(ctx, sentinel); err != nil {
		return Address{}, err
	}
	_ = s.m.group(s.group, evHurry{}) // it may have been removed
	next, err := s.announced(ctx, sentinel)
	if err != nil {
		return Address{}, err
	}
	if err := s.verified(ctx, next); err != nil {
		return Address{}, err
	}
	if s.of != next {
		s.demote(ctx, next)
	}
	return next, nil
}

// Standing is why the old master could not be made a replica of the new one, nil
// if it could: until Sentinel does it, what is written there is lost.
func (s *Switchover) Standing() error { return s.standing }

// ready looks again, right before the failover, whether all is as it was found
// in the beginning: seconds have gone by. The sentinel that it gives is connected
// already, so that the question, which is sent only while enough is left of the
// pause, is not late.
func (s *Switchover) ready(ctx context.Context, sure func() error) (*asker, error) {
	ctx, cancel := context.WithDeadline(ctx, s.until.Add(-s.reserve()))
	defer cancel()
	sentinel, err := s.willing(ctx)
	if err != nil {
		return nil, s.punctual(err)
	}
	if err = s.locked(ctx); err == nil {
		err = s.unmoved()
	}
	if err == nil {
		err = sure()
	}
	if err = s.punctual(err); err != nil {
		sentinel.close()
		return nil, err
	}
	return sentinel, nil
}

// punctual is err, unless it is too late for a promotion whatever else is wrong:
// this process may have been stopped for a minute, and the pause, on which all
// was built, be over.
func (s *Switchover) punctual(err error) error {
	if time.Until(s.until) < s.reserve() {
		return &CommandError{Code: "TIMEOUT", Text: fmt.Sprintf("failover: less than %v is left of the pause of the old master's writers, and a promotion takes that", s.reserve())}
	}
	return err
}

// willing finds a sentinel that answers, and puts it first.
func (s *Switchover) willing(ctx context.Context) (*asker, error) {
	var silent []string
	for i, from := range s.agreed {
		a := askSentinel(from, s.cfg)
		next, running, err := s.told(ctx, a)
		var stranger Address
		if err == nil && next.IsZero() && !running {
			stranger, err = s.stranger(ctx, a)
			if err == nil && stranger.IsZero() {
				s.agreed = slices.Concat(s.agreed[i:], s.agreed[:i])
				return a, nil
			}
		}
		a.close()
		switch {
		case running:
			return nil, &CommandError{Code: "INPROG", Text: fmt.Sprintf("failover: sentinel %v: a failover of it is under way", from.Address)}
		case !stranger.IsZero():
			return nil, &CommandError{Code: "NOREPLICA", Text: fmt.Sprintf("failover: sentinel %v could promote replica %v by now, and nobody has looked whether that has caught up: switch again", from.Address, stranger)}
		case err == nil:
			return nil, &CommandError{Code: "NOTREADY", Text: fmt.Sprintf("failover: sentinel %v: its master is %v now, not %v", from.Address, next, s.master.addr)}
		}
		silent = append(silent, tidy(err).Error())
	}
	return nil, &CommandError{Code: "NOQUORUM", Text: "failover: no sentinel answers any more: " + strings.Join(silent, "; ")}
}

// stranger is a replica that a sentinel could promote and that is not among those
// that have caught up: it has been seen again, or for the first time, meanwhile.
func (s *Switchover) stranger(ctx context.Context, sentinel *asker) (Address, error) {
	v, err := sentinel.must(ctx, "SENTINEL", "REPLICAS", s.group)
	if err != nil {
		return Address{}, err
	}
	list, err := parseReplicas(v)
	for _, r := range list {
		if r.Why == "" && !slices.Contains(s.replicas, r.Address) {
			return r.Address, nil
		}
	}
	return Address{}, err
}

// locked looks whether the lock is still held: it has gone with its connection.
func (s *Switchover) locked(ctx context.Context) error {
	err := errors.New("its connection was closed")
	if s.owner.conn != nil {
		_, err = s.owner.once(ctx, "PING")
	}
	if err != nil {
		return &CommandError{Code: "INPROG", Text: fmt.Sprintf("failover: the lock at master %v is lost, another proxy may have it: %v", s.owner.addr, tidy(err))}
	}
	return nil
}

// unmoved looks whether the machines have heard of another failover meanwhile.
func (s *Switchover) unmoved() (err error) {
	stopped := s.m.call(func() {
		g := s.m.pool.groups[s.group]
		if g == nil {
			err = &CommandError{Code: "NOGROUP", Text: fmt.Sprintf("failover: group %s was taken out of pool %s meanwhile", s.group, s.cfg.Pool)}
			return
		}
		switch v := g.view(s.m.now()); {
		case v.Failover != "":
			err = &CommandError{Code: "INPROG", Text: "failover: another one is under way: " + v.Failover}
		case v.Master != s.master.addr:
			err = &CommandError{Code: "NOTREADY", Text: fmt.Sprintf("failover: its master is %v now, not %v", v.Master, s.master.addr)}
		}
	})
	return errors.Join(stopped, err)
}

// consent asks for the failover. Valkey 9 has one that lets the two servers
// settle the hand-over between themselves; a sentinel without it says so.
func (s *Switchover) consent(ctx context.Context, sentinel *asker) error {
	forms := [][]string{{"SENTINEL", "FAILOVER", s.group}}
	if s.valkey >= 9 {
		forms = append([][]string{{"SENTINEL", "FAILOVER", s.group, "COORDINATED"}}, forms...)
	}
	var v respconn.Value
	var err error
	for _, args := range forms {
		if !s.demoted { // a master that is a replica already needs no pause
			if err := s.punctual(nil); err != nil {
				return err
			}
		}
		if v, err = sentinel.once(ctx, args...); err != nil || !v.IsError() || v.Code() != "ERR" {
			break
		}
	}
	s.consented = true
	switch {
	case errors.Is(err, errUnsent):
		s.consented = false
		return &CommandError{Code: "NOQUORUM", Text: fmt.Sprintf("failover: sentinel %v: %v", sentinel.addr, tidy(err))}
	case err != nil: // the question may have arrived: what it has become will be seen
		s.note("sentinel did not answer SENTINEL FAILOVER", slog.String("cause", tidy(err).Error()))
	case v.IsError():
		s.consented = false
		return newCommandError(sentinel.addr, printable(v.Str))
	}
	return nil
}

// announced waits until a sentinel tells another address. Before that, as soon
// as a replica says that it is a master, the old one is made its replica: that is
// a fence which does not end, as the pause does, and it is what answers the writes
// that are paused. A proxy that heard of the new master first would close its
// connections over them and had to call their outcome unknown.
//
// Should the leader die before it tells anybody, nobody else knows of the new
// master, and the old one is a replica: another sentinel is asked then. If it dies
// before it has promoted anybody, nothing has happened.
func (s *Switchover) announced(ctx context.Context, sentinel *asker) (Address, error) {
	watching, stop := context.WithCancel(ctx)
	news := make(chan Address, len(s.replicas))
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	for _, r := range s.replicas {
		watchers.Go(func() { s.watch(watching, r, news) })
	}
	tick := time.NewTicker(switchPoll)
	defer tick.Stop()
	var promoted Address
	asked, turn := time.Now(), 0
	for {
		next, running, err := s.told(ctx, sentinel)
		switch {
		case err != nil:
			turn++
			sentinel.close()
			*sentinel = *askSentinel(s.agreed[turn%len(s.agreed)], s.cfg)
		case !next.IsZero():
			return next, nil
		case running:
		case !s.demoted && turn == 0:
			s.consented = false
			return Address{}, &CommandError{Code: "NOREPLICA", Text: fmt.Sprintf("failover: sentinel %v has given it up: see its log", sentinel.addr)}
		case time.Since(asked) < forgotten:
		case s.demoted:
			asked = time.Now()
			if err := s.consent(ctx, sentinel); err != nil {
				s.note("sentinel does not take over the failover", slog.String("cause", err.Error()))
			}
			s.consented = true
		case promoted.IsZero():
			if s.forgone(ctx) {
				s.consented = false
				return Address{}, &CommandError{Code: "NOREPLICA", Text: fmt.Sprintf("failover: sentinel %v agreed to it and does not answer any more; no other one knows of it, and nobody was promoted", s.agreed[0].Address)}
			}
			asked = asked.Add(lookAgain)
		}
		select {
		case promoted = <-news:
		case <-tick.C:
		case <-ctx.Done():
			return Address{}, &CommandError{Code: "TIMEOUT", Text: fmt.Sprintf("failover: sentinel %v agreed to it, and tells of no new master yet: see PROXY MASTERS", s.agreed[0].Address)}
		}
		if !promoted.IsZero() && s.of != promoted { // it may have been refused the first time
			s.demote(ctx, promoted)
		}
	}
}

// told asks a sentinel for the group's address; zero is the old one still. running:
// it leads a failover.
func (s *Switchover) told(ctx context.Context, sentinel *asker) (next Address, running bool, err error) {
	v, err := sentinel.must(ctx, "SENTINEL", "MASTER", s.group) // first: what runs now may be over after the other question
	if err != nil {
		return Address{}, false, err
	}
	info, err := parseMasterInfo(v, s.group)
	if err != nil {
		return Address{}, false, err
	}
	if v, err = sentinel.must(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.group); err != nil {
		return Address{}, false, err
	}
	told, known, err := parseTold(v)
	switch {
	case err != nil:
		return Address{}, false, err
	case !known:
		return Address{}, false, fmt.Errorf("sentinel %v: %w", sentinel.addr, ErrUnknownGroup)
	case told != s.master.addr:
		return told, false, nil
	}
	return Address{}, info.has("failover_in_progress"), nil
}

// forgone: a majority of the sentinels knows the old master and no failover, none
// leads one, and every replica says that it is one. The leader is among those that
// are asked: the others need not know before it has promoted somebody.
func (s *Switchover) forgone(ctx context.Context) bool {
	quiet, slaves := make([]bool, len(s.cfg.Sentinels)), make([]bool, len(s.replicas))
	var led atomic.Bool
	var wg sync.WaitGroup
	for i, from := range s.cfg.Sentinels {
		wg.Go(func() {
			a := askSentinel(from, s.cfg)
			defer a.close()
			next, running, err := s.told(ctx, a)
			quiet[i] = err == nil && next.IsZero() && !running
			if running {
				led.Store(true)
			}
		})
	}
	for i, r := range s.replicas {
		wg.Go(func() {
			a := askNode(r, s.cfg)
			defer a.close()
			v, err := a.must(ctx, "ROLE")
			if err == nil {
				role, err := parseRole(v)
				slaves[i] = err == nil && role.Name == "slave"
			}
		})
	}
	wg.Wait()
	agree := 0
	for _, q := range quiet {
		if q {
			agree++
		}
	}
	return 2*agree > len(quiet) && !led.Load() && !slices.Contains(slaves, false)
}

// watch tells of a replica when it says that it is a master.
func (s *Switchover) watch(ctx context.Context, replica Address, promoted chan<- Address) {
	a := askNode(replica, s.cfg)
	defer a.close()
	tick := time.NewTicker(catchUp)
	defer tick.Stop()
	for {
		if _, err := offsetOf(ctx, a, "master"); err == nil {
			promoted <- replica
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// verified waits until the new master says so and takes commands.
func (s *Switchover) verified(ctx context.Context, next Address) error {
	tick := time.NewTicker(switchPoll)
	defer tick.Stop()
	for {
		err := s.m.Verify(ctx, next)
		if err == nil || errors.Is(err, ErrClosed) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &CommandError{Code: "TIMEOUT", Text: "verify: " + err.Error()}
		}
	}
}

// demote makes the old master a replica, for good, and only then lets the paused
// writers go: each is answered -READONLY, which is no execution, and other
// proxies send it again to the new one. Sentinel would do the same ten seconds
// later.
func (s *Switchover) demote(ctx context.Context, next Address) {
	if _, err := s.master.must(ctx, "REPLICAOF", next.Host, strconv.Itoa(next.Port)); err != nil {
		if s.standing == nil {
			s.note("old master could not be made a replica, it is tried again", slog.String("cause", err.Error()))
		}
		s.standing = err
		return // the paused ones stay so, for as long as the pause lasts
	}
	again := s.demoted
	s.demoted, s.of, s.standing = true, next, nil
	if again {
		return
	}
	if _, err := s.master.must(ctx, "CLIENT", "UNPAUSE"); err != nil {
		s.note("old master could not be unpaused: it ends by itself", slog.String("cause", err.Error()))
	}
	if v, err := s.master.do(ctx, "CONFIG", "REWRITE"); err != nil || v.IsError() {
		s.note("old master keeps its role only until it is restarted", slog.String("cause", "CONFIG REWRITE failed"))
	}
	s.register(ctx)
	_ = s.m.call(func() { s.m.io.Go(s.pursue) }) // unless the monitor ends
}
