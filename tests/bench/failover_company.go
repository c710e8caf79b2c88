package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"respgate/tests/harness"
)

// company are clients beside those that keep the ledger: of commands that are sent again by rules of their own.
type company struct {
	stop chan struct{}
	wg   sync.WaitGroup
	all  []*companion
}

// companion is one of them: a connection with one request at a time.
type companion struct {
	addr, group, name string
	book              *book
	step              func(*companion) error

	conn   *harness.Conn
	cursor string // of HSCAN

	key            string // of EVAL: a counter that nobody else touches
	acked, unknown int    // how often it was counted up, and may have been
	last           int64  // what it was at

	stale, broken int
}

// companions are how many of each kind a proxy gets, and companyRate how many requests a second each of them sends.
const (
	companions  = 2
	companyRate = 42
)

// Of scannedHash every companion knows what is in it: enough fields for a cursor to be more than one reply.
const (
	scannedHash   = "company:hash"
	scannedFields = 1000
)

// accompany starts them, on each proxy of the scene; the group is the only one of its pool.
func (s *scene) accompany(group string) {
	fill := []string{"HSET", scannedHash}
	for i := range scannedFields {
		fill = append(fill, fmt.Sprint("f", i), fmt.Sprint("v", i))
	}
	if got, err := harness.Ask(s.proxies[0].Config.Addr(pool), fill...); err != nil || got.Err() != nil {
		s.Fatalf("HSET %s: %s, %v", scannedHash, got.Text(), err)
	}
	c := &company{stop: make(chan struct{})}
	for i, p := range s.proxies {
		for _, kind := range []struct {
			name string
			step func(*companion) error
		}{{"HSCAN", (*companion).scan}, {"PUBLISH", (*companion).publish}, {"EVAL", (*companion).count}} {
			for n := range companions {
				one := &companion{
					addr: p.Config.Addr(pool), group: group, name: kind.name, book: s.books[group], step: kind.step,
					cursor: "0", key: fmt.Sprintf("company:counter:%d:%d", i, n),
				}
				c.all = append(c.all, one)
				c.wg.Go(func() { one.run(c.stop) })
			}
		}
	}
	s.company = c
	s.Cleanup(c.end)
}

// end stops them; it may be called twice.
func (c *company) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.wg.Wait()
}

func (c *companion) run(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second / companyRate)
	defer tick.Stop()
	defer c.drop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		began := time.Now()
		err := c.step(c)
		c.book.noteAs(c.name, began, time.Now(), err)
	}
}

func (c *companion) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do sends a request; an error reply is an error. A connection that is lost is replaced at the next one.
func (c *companion) do(args ...string) (harness.Reply, error) {
	if c.conn == nil {
		conn, err := harness.Dial(c.addr)
		if err != nil {
			return harness.Reply{}, err
		}
		c.conn = conn
	}
	got, err := c.conn.Do(args...)
	if err != nil {
		c.drop()
		return got, fmt.Errorf("connection: %w", err)
	}
	return got, got.Err()
}

// scan goes on with the iteration. What another server makes of a cursor is its affair, but it has no other fields.
func (c *companion) scan() error {
	got, err := c.do("HSCAN", scannedHash, c.cursor, "COUNT", "50")
	if err != nil {
		return err
	}
	if len(got.Elems) != 2 || !scanned(got.Elems[1].Elems) {
		c.broken++
		return nil
	}
	c.cursor = got.Elems[0].Str
	return nil
}

// scanned is whether these are fields of the hash, each with its value.
func scanned(pairs []harness.Reply) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		n, ok := strings.CutPrefix(pairs[i].Str, "f")
		if !ok || n == "" || pairs[i+1].Str != "v"+n {
			return false
		}
	}
	return len(pairs)%2 == 0
}

func (c *companion) publish() error {
	got, err := c.do("PUBLISH", "company:channel", "hello")
	if err == nil && (got.Kind != ':' || got.Int != 0) { // nobody is subscribed
		c.broken++
	}
	return err
}

func (c *companion) count() error {
	got, err := c.do("EVAL", "return redis.call('INCR', KEYS[1])", "1", c.key)
	if err != nil {
		c.unknown++
		return err
	}
	switch {
	case got.Kind != ':' || got.Int > int64(c.acked+c.unknown+1):
		c.broken++
	case got.Int <= c.last:
		c.stale++
	}
	c.last = got.Int
	c.acked++
	return nil
}

// audit adds what has become of them to the damage of their group.
func (c *company) audit(g *groupDamage, master *harness.Redis) error {
	for _, one := range c.all {
		if one.group != g.name {
			continue
		}
		g.stale += one.stale
		g.broken += one.broken
		if one.acked == 0 { // nothing was counted up
			continue
		}
		got, err := master.Ask("GET", one.key)
		if err != nil {
			return err
		}
		have, err := strconv.Atoi(got.Text())
		if err != nil {
			return errors.Join(fmt.Errorf("GET %s: %s", one.key, got.Text()), err)
		}
		g.lost += max(0, one.acked-have)
		g.broken += max(0, have-one.acked-one.unknown)
	}
	return nil
}
