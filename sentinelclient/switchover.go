package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"respgate/internal/respconn"
)

const (
	switchPoll = 20 * time.Millisecond // between two looks at a sentinel's address
	catchUp    = 5 * time.Millisecond  // between two looks at a replica
	forgotten  = 3 * time.Second       // a leader that told nobody of its new master for so long will not
	// farewell is how long the clients of the demoted master are left to find out
	// by themselves. The replies of what was paused there (-READONLY) are read
	// meanwhile by the other proxies, which then follow the sentinels: a connection
	// that is closed over an unread reply would turn it into an unknown outcome.
	farewell    = 2 * time.Second
	longestList = 64 << 20 // bytes of CLIENT LIST
)

// Switchover is a planned switch of one group to one of its replicas:
//
//	Monitor.Switchover   everything is in order, nobody else is at it      refused: nothing happened
//	Fence                the old master takes no write; the replicas have all    else undone by Close
//	Promote              Sentinel fails over; the old one becomes a replica      no way back from its +OK on
//	Close                lets paused writers go, and takes leave of the old master
//
// Between the first two the caller holds its own requests and lets those in
// flight finish. It belongs to one goroutine.
type Switchover struct {
	m     *Monitor
	cfg   *Config
	group string
	readiness

	master *asker // the old one
	owner  *asker // holds the lock there

	paused    time.Time // when the pause was asked for, zero if it was not
	until     time.Time // when it ends by itself
	consented bool      // a sentinel may be failing over: nothing is undone any more
	demoted   bool      // the old master is a replica
	of        Address   // of that one
	guests    []string  // ids of the clients that it had then
	closed    bool
}

// Switchover looks whether a group can be switched without a loss, and locks it
// against other proxies. Errors: *CommandError (INPROG, NOQUORUM, NOREPLICA,
// NOGROUP, NOTREADY, NOSENTINEL, ERR), ErrUnknownGroup, ErrClosed. It may be
// called by any goroutine but deliver's.
func (m *Monitor) Switchover(ctx context.Context, group string) (*Switchover, error) {
	cfg, master, active, err := m.situation(group)
	if err != nil {
		return nil, err
	}
	st, err := survey(ctx, cfg, group, master, active)
	if err != nil {
		return nil, err
	}
	s := &Switchover{m: m, cfg: cfg, group: group, readiness: *st, master: askNode(master, cfg), owner: askNode(master, cfg)}
	s.master.limits.Reply = longestList
	if err := lock(ctx, s.owner, group); err != nil {
		return nil, err
	}
	return s, nil
}

// Switchable is nil if Switchover would have nothing to object to, but for the lock.
func (m *Monitor) Switchable(ctx context.Context, group string) error {
	cfg, master, active, err := m.situation(group)
	if err != nil {
		return err
	}
	_, err = survey(ctx, cfg, group, master, active)
	return err
}

// situation is what the machines know of a group.
func (m *Monitor) situation(group string) (cfg *Config, master, active Address, err error) {
	known, watched := false, false
	err = m.call(func() {
		c := *m.pool.cfg
		cfg = &c
		if g := m.pool.groups[group]; g != nil {
			known, master = true, g.master
		}
		active, watched = m.pool.activeAddress(), m.pool.watches(m.pool.active)
	})
	switch {
	case err != nil:
	case !known:
		err = fmt.Errorf("pool %s, group %s: %w", cfg.Pool, group, ErrUnknownGroup)
	case !watched:
		err = &CommandError{Code: "NOSENTINEL", Text: "no sentinel of pool " + cfg.Pool + " is being watched"}
	case master.IsZero():
		err = &CommandError{Code: "NOTREADY", Text: "group " + group + " has no master to switch from"}
	}
	return cfg, master, active, err
}

// Fence makes the old master stop taking writes, whoever sends them, and waits
// until every replica that could be promoted has what it has: clients were told
// that it is written.
func (s *Switchover) Fence(ctx context.Context) error {
	s.paused = time.Now()
	s.until = s.paused.Add(s.pause())
	if _, err := s.master.must(ctx, "CLIENT", "PAUSE", strconv.FormatInt(s.pause().Milliseconds(), 10), "WRITE"); err != nil {
		return &CommandError{Code: "ERR", Text: fmt.Sprintf("pause: master %v (CLIENT PAUSE WRITE needs Redis 6.2 and the permission +client|pause)", err)}
	}
	upTo, err := offsetOf(ctx, s.master, "master")
	if err != nil {
		return &CommandError{Code: "ERR", Text: fmt.Sprintf("catch-up: master %v", err)}
	}
	ctx, cancel := context.WithDeadline(ctx, s.paused.Add(s.pause()/2)) // the other half is for the promotion
	defer cancel()
	errs := make([]error, len(s.replicas))
	var wg sync.WaitGroup
	for i, r := range s.replicas {
		wg.Go(func() { errs[i] = s.caughtUp(ctx, r, upTo) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return &CommandError{Code: "NOREPLICA", Text: fmt.Sprintf("catch-up: %v", err)}
	}
	return nil
}

// caughtUp waits until a replica has applied all up to an offset.
func (s *Switchover) caughtUp(ctx context.Context, replica Address, upTo int64) error {
	a := askNode(replica, s.cfg)
	defer a.close()
	tick := time.NewTicker(catchUp)
	defer tick.Stop()
	lacks := errors.New("does not answer")
	for {
		switch have, err := offsetOf(ctx, a, "slave"); {
		case err != nil && !errors.Is(err, errTimeout):
			return fmt.Errorf("replica %w", err)
		case err == nil && have >= upTo:
			return nil
		case err == nil:
			lacks = fmt.Errorf("lacks %d bytes of what clients were told is written: wait until it has caught up", upTo-have)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("replica %v %w", replica, lacks)
		}
	}
}

// Promote asks a sentinel for the failover and returns the new master, verified,
// when the old one is its replica. Without an address nothing has changed, or
// nobody knows: the error says which.
func (s *Switchover) Promote(ctx context.Context) (Address, error) {
	sentinel := askSentinel(s.agreed[0], s.cfg)
	defer sentinel.close()
	// The decision comes last: this process may have been stopped for a minute,
	// and the pause, on which all was built, be over.
	if time.Now().After(s.until.Add(-s.pause() / 4)) {
		return Address{}, &CommandError{Code: "TIMEOUT", Text: "failover: too little is left of the pause of the old master's writers"}
	}
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
// master, and the old one is a replica: another sentinel is asked then.
func (s *Switchover) announced(ctx context.Context, sentinel *asker) (Address, error) {
	watching, stop := context.WithCancel(ctx)
	promoted := make(chan Address, len(s.replicas))
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer stop()
	for _, r := range s.replicas {
		watchers.Go(func() { s.watch(watching, r, promoted) })
	}
	tick := time.NewTicker(switchPoll)
	defer tick.Stop()
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
		case s.demoted && time.Since(asked) > forgotten:
			asked = time.Now()
			if err := s.consent(ctx, sentinel); err != nil {
				s.note("sentinel does not take over the failover", slog.String("cause", err.Error()))
			}
			s.consented = true
		}
		select {
		case to := <-promoted:
			s.demote(ctx, to)
		case <-tick.C:
		case <-ctx.Done():
			return Address{}, &CommandError{Code: "TIMEOUT", Text: fmt.Sprintf("failover: sentinel %v agreed to it, and tells of no new master yet: see PROXY MASTERS", s.agreed[0].Address)}
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
		s.note("old master could not be made a replica: Sentinel will, what is written to it until then is lost", slog.String("cause", err.Error()))
		return // the paused ones stay so, for as long as the pause lasts
	}
	again := s.demoted
	s.demoted, s.of = true, next
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
}

// Close lets paused writers go if nothing has come of the switch, and gives up
// the lock. After a switch it returns at once; the clients that are left at the
// old master are closed some time later, so that they look for the new one.
func (s *Switchover) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if !s.paused.IsZero() && !s.consented && !s.demoted {
		ctx, cancel := within(context.Background(), time.Until(s.until)+s.cfg.MasterTimeout)
		defer cancel()
		if _, err := s.master.must(ctx, "CLIENT", "UNPAUSE"); err != nil {
			s.note("old master could not be unpaused: it ends by itself", slog.String("cause", err.Error()), slog.Time("until", s.until))
		}
	}
	if !s.demoted || s.m.call(func() { s.m.io.Go(s.leave) }) != nil {
		s.end()
	}
}

// leave closes the clients that the old master had when it was demoted, but for
// sentinels: they know, and to be without their links for a second would only
// keep them from the next switch. It may be the master again by now, with other
// clients, and their ids are others as well, unless it was restarted, which the
// connection tells: it is not dialled again.
func (s *Switchover) leave() {
	defer s.end()
	select {
	case <-time.After(farewell):
	case <-s.m.ctx.Done():
		return
	}
	for _, id := range s.guests {
		if s.master.conn == nil {
			return
		}
		_, _ = s.master.once(s.m.ctx, "CLIENT", "KILL", "ID", id, "SKIPME", "yes") // most have gone by themselves
	}
}

// register notes the clients of the old master.
func (s *Switchover) register(ctx context.Context) {
	for _, kind := range []string{"normal", "pubsub"} {
		v, err := s.master.must(ctx, "CLIENT", "LIST", "TYPE", kind)
		if err != nil {
			s.note("clients of the old master cannot be told to look for the new one", slog.String("cause", err.Error()))
			return
		}
		text, _ := v.Text()
		s.guests = append(s.guests, strangers(text)...)
	}
}

// strangers are the ids in CLIENT LIST of all but sentinels.
func strangers(list string) (ids []string) {
	for line := range strings.Lines(list) {
		id, name := "", ""
		for word := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "id":
				id = value
			case "name":
				name = value
			}
		}
		if id != "" && !strings.HasPrefix(name, "sentinel-") {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *Switchover) end() {
	s.master.close()
	s.owner.close()
}

func (s *Switchover) note(text string, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("group", s.group), slog.String("master", s.master.addr.String())}, attrs...)
	s.m.log.LogAttrs(s.m.ctx, slog.LevelWarn, text, attrs...)
}
