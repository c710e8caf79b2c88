package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"respgate/conf"
	"respgate/engine/command"
	"respgate/engine/report"
	"respgate/internal/inventory"
)

// This file has what the masters say of their commands: asked outside the control goroutine when a master is served for the
// first time and when it comes back after a loss, and compared over the groups of a pool.

const (
	learnTimeout = 5 * time.Second // for one master: connect, authenticate, answer
	maxLearning  = 4               // at once: an answer is some 100 KiB, and a fleet may have 512 groups
	learnAgain   = time.Second     // after an answer or a failure; twice as long after each further one
	learnForget  = 10 * time.Second
	learnSeldom  = time.Minute      // the longest time after failures
	learnRarely  = 10 * time.Minute // after a refusal
)

// learner asks masters. What it is told comes back through the inbox.
type learner struct {
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	asked  sync.WaitGroup
	busy   int // of the control goroutine
}

func newLearner() *learner {
	l := &learner{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// close gives up what is being asked and waits for it.
func (l *learner) close() {
	l.cancel()
	l.asked.Wait()
}

// learned is what is known of the commands of a group's master. While a new master is asked, the offer of the one before stands.
type learned struct {
	offer  *command.Offer // nil: nothing is refused because of it
	of     question       // that was answered
	asking question       // that is under way
	tried  question       // that was answered or failed last
	again  time.Time      // when the same master may be asked again
	wait   time.Duration  // after failures
	lost   bool           // the way to it broke: it may come back with other commands
	losses uint64
	cause  string // of the last failure
	warned [32]byte
}

// question is whom to ask, and as whom: another one is asked anew.
type question struct {
	generation uint64
	user       string
	password   conf.Secret
	losses     uint64
}

// of the same master, whatever happened to it in between.
func (q question) same(o question) bool {
	o.losses = q.losses
	return q == o
}

func (g *group) question() question {
	return question{g.master.Generation, g.pool.conf.RedisUser, g.pool.conf.RedisAuth, g.learned.losses}
}

// noticed takes an event of the data plane: a master that can be reached again is asked soon.
func (l *learned) noticed(k report.EventKind, now time.Time) {
	switch {
	case k == report.EventLinkLost, k == report.EventDialFailed:
		l.lost = true
	case k == report.EventLinkUp && l.lost:
		l.lost = false
		l.losses++
		l.soon(now)
	case k == report.EventLinkUp && l.wait <= learnSeldom:
		l.soon(now)
	}
}

func (l *learned) soon(now time.Time) {
	if soon := now.Add(learnAgain); l.again.After(soon) {
		l.again, l.wait = soon, 0
	}
}

// due says whether the group's master is to be asked, and when.
func (g *group) due() (at time.Time, ok bool) {
	l, q := &g.learned, g.question()
	if g.state != "up" || !g.master.Known() || l.of == q || l.asking == q {
		return at, false
	}
	if q.same(l.tried) {
		at = l.again
	}
	return at, true
}

// learn asks those masters of the pool that are to be asked now, as many as may be.
func (c *Controller) learn(p *pool, now time.Time) {
	if c.opts.Inventory == nil {
		return
	}
	for _, g := range p.order {
		if c.commands.busy >= maxLearning {
			return // the answer to one of them is a reason to come back
		}
		if at, ok := g.due(); !ok || now.Before(at) {
			continue
		}
		c.commands.busy++
		g.learned.asking = g.question()
		c.commands.asked.Go(c.asker(g))
	}
}

// asker asks the group's master as it is now. It keeps no group: a reload may replace it.
func (c *Controller) asker(g *group) func() {
	m := g.asked()
	server := inventory.Server{Network: m.Network, Addresses: m.Addresses, User: m.User, Password: m.Password}
	pool, name, q := g.pool.name, g.name, g.learned.asking
	return func() {
		ctx, cancel := context.WithTimeout(c.commands.ctx, learnTimeout)
		defer cancel()
		var offer *command.Offer
		rows, err := c.opts.Inventory(ctx, server)
		if err == nil {
			offer, err = command.NewOffer(rows)
		}
		c.box.must(func() { c.learnt(pool, name, q, offer, err) })
	}
}

// learnt takes an answer, or the failure to get one.
func (c *Controller) learnt(pool, name string, q question, offer *command.Offer, err error) {
	c.commands.busy--
	p := c.pools[pool]
	if p == nil || p.groups[name] == nil || p.groups[name].learned.asking != q {
		return // it is gone, or another question has been asked since
	}
	now := time.Now()
	g := p.groups[name]
	l := &g.learned
	l.asking, l.tried = question{}, q
	if err == nil {
		l.offer, l.of, l.cause, l.wait, l.again = c.shared(offer), q, "", 0, now.Add(learnAgain)
		c.warnDifferences(g)
		return
	}
	var denied *inventory.DeniedError
	l.wait = min(max(2*l.wait, learnAgain), learnSeldom)
	level := slog.LevelDebug
	if errors.As(err, &denied) || errors.Is(err, command.ErrNoTable) {
		l.wait, level = learnRarely, slog.LevelInfo
	}
	l.again = now.Add(l.wait)
	if l.wait > learnForget {
		l.offer = nil
	}
	if l.cause != err.Error() {
		l.cause = err.Error()
		c.log.Log(context.Background(), level, "the commands of a master are not known: none is adopted from it, none refused because of it",
			"pool", pool, "group", name, "master", g.master.Name, "cause", l.cause)
	}
}

// shared is the same offer as somebody else's, if there is one: a fleet has one version, or two.
func (c *Controller) shared(o *command.Offer) *command.Offer {
	for _, p := range c.pools {
		for _, g := range p.order {
			if own := g.learned.offer; own != nil && own.Digest == o.Digest {
				return own
			}
		}
	}
	return o
}

// warnDifferences logs once what a master says of its commands that is not what requests are routed by.
func (c *Controller) warnDifferences(g *group) {
	l := &g.learned
	if diffs := l.offer.Differences(); len(diffs) > 0 && l.warned != l.offer.Digest {
		l.warned = l.offer.Digest
		c.log.Warn("a master's commands differ from those the proxy routes by", "pool", g.pool.name, "group", g.name, "master", g.master.Name,
			"differences", strings.Join(diffs, "; "))
	}
}

// compare is the pool's catalog: the same one as long as it says the same.
func (p *pool) compare() *command.Catalog {
	same := len(p.members) == len(p.order)
	for i := 0; same && i < len(p.order); i++ {
		same = p.members[i] == p.order[i].member()
	}
	if same {
		return p.catalog
	}
	p.members = make([]command.Member, len(p.order))
	for i, g := range p.order {
		p.members[i] = g.member()
	}
	if next := command.NewCatalog(p.members); !next.Equal(p.catalog) {
		p.catalog = next
	}
	return p.catalog
}

func (g *group) member() command.Member {
	return command.Member{Group: g.name, Master: g.master.Name, Offer: g.learned.offer}
}

// servedCommands logs what was adopted and what is refused, when that is another.
func (p *pool) servedCommands(log *slog.Logger) {
	if p.toldCatalog == p.catalog {
		return
	}
	p.toldCatalog = p.catalog
	if adopted := strings.Join(p.catalog.Adopted(), " "); p.toldAdopted != adopted {
		p.toldAdopted = adopted
		log.Info("commands that the proxy does not know are taken from the servers", "pool", p.name, "commands", some(adopted))
	}
	var names []string
	cause := ""
	for _, r := range p.catalog.Refused() {
		names = append(names, r.Name)
		cause = cmp.Or(cause, r.Reason)
	}
	switch refused := strings.Join(names, " "); {
	case p.toldRefused == refused:
		return
	case refused == "":
		log.Info("no command is refused any more because some group lacks it", "pool", p.name)
		p.toldRefused = refused
	default:
		log.Warn("commands are refused because some group lacks them", "pool", p.name, "commands", some(refused), "cause", cause)
		p.toldRefused = refused
	}
}

// some are as many of the names as a line of the log takes.
func some(names string) string {
	const most = 20
	list := strings.Fields(names)
	if len(list) <= most {
		return names
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], " "), len(list)-most)
}
