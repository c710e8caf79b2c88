package harness

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// LedgerOptions of a load.
type LedgerOptions struct {
	Addr     string // of the pool
	Password string
	Groups   []string
	Route    func(keys []string) []string // the group of each key, as the proxy says
	Workers  int                          // connections per group; 4
	Pipeline int                          // so many of them send four requests in one write
	Interval time.Duration                // between two requests of one connection; 5ms
	Keys     string                       // how keys begin, so that two ledgers of one pool have none in common; "w"
	// Observe, if it is set, is told of each request by the goroutine that sent it.
	Observe func(group string, began, ended time.Time, err error)
}

// Ledger is a load that keeps books: what was acknowledged, what failed and how, and for how long nothing succeeded.
// Each worker has one connection and keys of its own, all in one group, so it knows what must be there in the end.
type Ledger struct {
	options LedgerOptions
	t       testing.TB
	workers []*worker
	stop    chan struct{}
	wg      sync.WaitGroup
	groups  map[string]*groupBook
}

// groupBook is what all workers of one group saw.
type groupBook struct {
	mu      sync.Mutex
	ok      int
	errors  map[string]int
	last    time.Time // of the last success
	outage  time.Duration
	slowest time.Duration
	longest time.Duration
}

// GroupReport is the outcome for one group.
type GroupReport struct {
	Group      string
	Requests   int            // answered as they should be
	Errors     map[string]int // by text, digits made N
	Outage     time.Duration  // the longest time without a success
	Slowest    time.Duration  // request that succeeded
	Longest    time.Duration  // request that succeeded or failed
	Lost       int            // acknowledged writes that are not there
	LostSent   time.Time      // when the last of them was sent whose time is known: a SET or an RPUSH
	Duplicates int            // writes that are there more often than they were sent
	Stale      int            // reads that were older than an acknowledged write
	Wrong      int            // replies that belong to another request: never acceptable
}

// Failed counts the requests that did not succeed.
func (r GroupReport) Failed() int {
	n := 0
	for _, c := range r.Errors {
		n += c
	}
	return n
}

func (r GroupReport) String() string {
	var errs []string
	for text, n := range r.Errors {
		errs = append(errs, fmt.Sprintf("%d x %s", n, text))
	}
	sort.Strings(errs)
	return fmt.Sprintf("%s: %d requests, outage %v, slowest %v, %d errors [%s], lost acknowledged writes %d, duplicates %d, stale reads %d, wrong replies %d",
		r.Group, r.Requests, r.Outage.Round(time.Millisecond), r.Slowest.Round(time.Millisecond), r.Failed(), strings.Join(errs, "; "),
		r.Lost, r.Duplicates, r.Stale, r.Wrong)
}

// StartLedger starts the load; it runs until Finish, or until the test ends.
func StartLedger(t testing.TB, o LedgerOptions) *Ledger {
	t.Helper()
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Millisecond
	}
	if o.Keys == "" {
		o.Keys = "w"
	}
	steps := &primes{}
	l := &Ledger{options: o, t: t, stop: make(chan struct{}), groups: map[string]*groupBook{}}
	now := time.Now()
	for _, g := range o.Groups {
		l.groups[g] = &groupBook{errors: map[string]int{}, last: now}
	}
	for i, tag := range l.tags() {
		w := &worker{
			ledger: l, tag: tag, group: o.Groups[i%len(o.Groups)], pipelines: i/len(o.Groups) < o.Pipeline,
			step: steps.next(), ahead: i * aheadEach, pushed: map[string]pushed{},
		}
		l.workers = append(l.workers, w)
		l.wg.Go(w.run)
	}
	t.Cleanup(l.halt)
	return l
}

// tags finds a hash tag for each worker such that worker i's keys live in group i modulo the number of groups.
func (l *Ledger) tags() []string {
	l.t.Helper()
	var candidates []string
	for i := range 400 {
		candidates = append(candidates, "{"+Scatter(l.options.Keys, i)+"}")
	}
	free := map[string][]string{}
	for i, g := range l.options.Route(candidates) {
		free[g] = append(free[g], candidates[i])
	}
	tags := make([]string, len(l.options.Groups)*l.options.Workers)
	for i := range tags {
		g := l.options.Groups[i%len(l.options.Groups)]
		if len(free[g]) == 0 {
			l.t.Fatalf("too few of 400 keys go to group %s", g)
		}
		tags[i], free[g] = free[g][0], free[g][1:]
	}
	return tags
}

// Scatter makes a name of a number such that neighbours have nothing in common: the default hash, fnv1a_64, puts names
// that differ in their last character next to each other on the ring.
func Scatter(prefix string, i int) string {
	sum := md5.Sum([]byte(prefix + strconv.Itoa(i)))
	return prefix + hex.EncodeToString(sum[:5])
}

func (l *Ledger) halt() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
}

// Progress waits until each of the groups (none: all) has answered n more requests.
func (l *Ledger) Progress(n int, groups ...string) {
	l.t.Helper()
	if len(groups) == 0 {
		groups = l.options.Groups
	}
	want := map[string]int{}
	for _, g := range groups {
		want[g] = l.groups[g].count() + n
	}
	Eventually(l.t, 2*Patience, fmt.Sprintf("%d more requests succeed", n), func() error {
		for _, g := range groups {
			if have := l.groups[g].count(); have < want[g] {
				return fmt.Errorf("group %s: %d to go; errors %v", g, want[g]-have, l.groups[g].failures())
			}
		}
		return nil
	})
}

// Requests counts what a group has answered so far.
func (l *Ledger) Requests(group string) int { return l.groups[group].count() }

// Failures are the errors so far in a group, by text.
func (l *Ledger) Failures(group string) map[string]int { return l.groups[group].failures() }

// Finish stops the load and compares the books with what the masters have. masters maps each group to its server.
func (l *Ledger) Finish(masters map[string]*Redis) []GroupReport {
	l.t.Helper()
	l.halt()
	reports := make([]GroupReport, len(l.options.Groups))
	for i, g := range l.options.Groups {
		b := l.groups[g]
		b.mu.Lock()
		reports[i] = GroupReport{Group: g, Requests: b.ok, Errors: b.errors, Slowest: b.slowest, Longest: b.longest, Outage: max(b.outage, time.Since(b.last))}
		b.mu.Unlock()
	}
	for _, w := range l.workers {
		i := slices.Index(l.options.Groups, w.group)
		r := &reports[i]
		r.Stale += w.stale
		r.Duplicates += w.twice
		r.Wrong += w.wrong
		m := masters[w.group]
		if m == nil {
			l.t.Fatalf("no master given for group %s", w.group)
		}
		w.audit(m, r)
	}
	for _, r := range reports {
		l.t.Log(r)
	}
	return reports
}

func (b *groupBook) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ok
}

func (b *groupBook) failures() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := map[string]int{}
	for k, v := range b.errors {
		c[k] = v
	}
	return c
}

func (b *groupBook) success(took time.Duration) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ok++
	b.outage = max(b.outage, now.Sub(b.last))
	b.slowest, b.longest = max(b.slowest, took), max(b.longest, took)
	b.last = now
}

var digits = regexp.MustCompile(`[0-9]+`)

func (b *groupBook) failure(err error, took time.Duration) {
	if ne, ok := errors.AsType[*net.OpError](err); ok {
		err = fmt.Errorf("connection: %s: %w", ne.Op, ne.Err)
	}
	text := digits.ReplaceAllString(err.Error(), "N")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.longest = max(b.longest, took)
	b.errors[text]++
}
