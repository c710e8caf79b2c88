package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	catchUp = 5 * time.Millisecond // between two looks at a replica
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
//	Promote              all is still so; Sentinel fails over; the old one       no way back from its +OK on
//	                     becomes a replica
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
	standing  error     // why it could not be made one, nil if it could
	guests    []string  // ids of the clients that it had then
	closed    bool

	lost atomic.Pointer[error] // why the old master does not get what the new one has; of the goroutine that looks
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

// Master is the one that is switched from.
func (s *Switchover) Master() Address { return s.master.addr }

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
	ctx, cancel := context.WithDeadline(ctx, s.paused.Add(min(s.pause()/2, s.pause()-s.reserve())))
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

// Close lets paused writers go if nothing has come of the switch and the lock is
// still held, and gives that up. After a switch it returns at once; the clients that are left at the
// old master are closed some time later, so that they look for the new one.
func (s *Switchover) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if !s.paused.IsZero() && !s.consented && !s.demoted {
		ctx, cancel := within(context.Background(), time.Until(s.until)+s.cfg.MasterTimeout)
		defer cancel()
		err := s.locked(ctx) // a server has one pause: without the lock it may be that of another proxy, who counts on it
		if err == nil {
			_, err = s.master.must(ctx, "CLIENT", "UNPAUSE")
		}
		if err != nil {
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
