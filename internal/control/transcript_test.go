package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"respgate/engine/report"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// TestTranscripts plays the files of testdata: commands, and all that comes of each.
//
//	start | reload [dry] [refuse=TEXT] [unready=TEXT] [unreadable=TEXT]   input: the file
//	view POOL [client=N] [unready=TEXT]    input: GROUP STATE [master=H:P epoch=N authority lease=D failover=T cause=T pinned down-after=D]
//	topology POOL VERSION [client=N] [disk]    input: groups, sentinels, set KEY VALUE
//	event KIND POOL GROUP [generation=N] [cause=TEXT]
//	switch POOL GROUP [HOST PORT] | switch POOL ALL | agree POOL [check|fence|promote [stall]] [error=TEXT] | ahead POOL [MASTER] | standing POOL [error=TEXT] | switchable POOL [error=TEXT] | verify POOL [error=TEXT] | resign | close
//	commands ADDRESS [COMMAND[=write|read|keyless] ...] [error=TEXT] [denied=TEXT] [stall] | asked
//	leases    until when the data plane was told that masters may be served
//	events [POOL [GROUP]] [count=N]    what was published, and the timeline
//	refuse TEXT | accept | manager-says POOL CAUSE | name NAME [ADDR ...] | counters POOL GROUP [inflight=N] [answered=N] | pass DURATION | rows
//
// Texts have underscores for blanks.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &player{w: newWorld(t), stall: map[string]chan struct{}{}}
				defer func() {
					if p.w.ctl != nil {
						p.w.ctl.Close()
					}
				}()
				datadriven.RunTest(t, file, p.play)
			})
		})
	}
}

type player struct {
	w     *world
	stall map[string]chan struct{} // steps that wait, by pool and name
}

// args are the words of a command, and its key=value pairs.
func args(d *datadriven.TestData) (words []string, pairs map[string]string) {
	pairs = map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			words = append(words, text(a.Key))
		} else {
			pairs[a.Key] = text(strings.Join(a.Vals, ", "))
		}
	}
	return words, pairs
}

func text(s string) string { return strings.ReplaceAll(s, "_", " ") }

var clockTime = regexp.MustCompile(`until \d\d:\d\d:\d\d`)

func (p *player) play(t *testing.T, d *datadriven.TestData) string {
	w := p.w
	words, pairs := args(d)
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch d.Cmd {
	case "start":
		if err := w.start(d.Input); err != nil {
			say("error: %v", err)
		}
	case "reload":
		out = p.reload(d.Input, len(words) > 0, pairs)
	case "view":
		p.view(t, words[0], pairs, d.Input)
	case "topology":
		p.topology(t, words, pairs, d.Input)
	case "event":
		g, _ := strconv.ParseUint(pairs["generation"], 10, 64)
		w.ctl.Notice(report.Event{Kind: kindOf(t, words[0]), Pool: words[1], Group: words[2], Generation: g, Cause: pairs["cause"]})
	case "switch":
		p.startSwitch(words)
	case "agree":
		s := w.latest(words[0])
		if len(words) == 1 {
			words = append(words, "promote")
		}
		key := words[0] + " " + words[1]
		if gate := p.stall[key]; gate != nil {
			close(gate)
			delete(p.stall, key)
		}
		switch e := pairs["error"]; {
		case len(words) > 2:
			gate := make(chan struct{})
			p.stall[key] = gate
			s.failing(words[1], func(context.Context) error { <-gate; return nil })
		case e == "":
			s.failing(words[1], nil)
		default:
			code, rest, _ := strings.Cut(e, " ")
			s.failing(words[1], func(context.Context) error { return &sentinelclient.CommandError{Code: code, Text: rest} })
		}
	case "ahead":
		s := w.latest(words[0])
		if s.ahead = nil; len(words) > 1 {
			a, err := sentinelclient.ParseAddress(words[1])
			if err != nil {
				t.Fatal(err)
			}
			s.ahead = &a
		}
	case "standing":
		if w.latest(words[0]).standing = nil; pairs["error"] != "" {
			w.latest(words[0]).standing = errors.New(pairs["error"])
		}
	case "switchable":
		s := w.latest(words[0])
		w.mu.Lock()
		if s.switchable = nil; pairs["error"] != "" {
			s.switchable = errors.New(pairs["error"])
		}
		w.mu.Unlock()
	case "verify":
		if w.latest(words[0]).verify = nil; pairs["error"] != "" {
			w.latest(words[0]).verify = errors.New(pairs["error"])
		}
	case "resign":
		w.ctl.Resign()
	case "close":
		w.ctl.Close()
	case "refuse":
		w.plane.refuseWith(errors.New(words[0]))
	case "accept":
		w.plane.refuseWith(nil)
	case "name":
		a := answer{err: errors.New("no such host")}
		for _, s := range words[1:] {
			a.addrs, a.err = append(a.addrs, netip.MustParseAddr(s)), nil
		}
		w.setName(words[0], a)
	case "manager-says":
		m := w.latestManager(words[0])
		w.mu.Lock()
		m.cause = words[1]
		w.mu.Unlock()
	case "counters":
		w.plane.set(words[0], words[1], func(g *report.Group) {
			g.Inflight = number(pairs["inflight"], g.Inflight)
			g.Answered = uint64(number(pairs["answered"], int(g.Answered)))
			g.Waited = uint64(number(pairs["waited"], int(g.Waited)))
			g.HeldMost = number(pairs["most"], g.HeldMost)
			g.Unknown = uint64(number(pairs["unknown"], int(g.Unknown)))
			g.Late = uint64(number(pairs["late"], int(g.Late)))
		})
	case "pass":
		length, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		pass(length)
	case "commands":
		w.setCommands(words[0], words[1:], pairs)
	case "asked":
		return w.questions()
	case "events":
		out = p.events(words, number(pairs["count"], 0))
	case "leases":
		out = w.plane.leases()
	case "rows":
		out = p.rows()
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	if news := w.news(); news != "" {
		out = append(out, news)
	}
	if len(out) == 0 {
		return "nothing\n"
	}
	return strings.Join(out, "\n") + "\n"
}

func number(s string, old int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return old
}

func kindOf(t *testing.T, name string) report.EventKind {
	for k := report.EventLinkUp; k <= report.EventAcceptFailed; k++ {
		if k.String() == name {
			return k
		}
	}
	t.Fatalf("no event %s", name)
	return 0
}

func (p *player) reload(input string, dry bool, pairs map[string]string) (out []string) {
	w := p.w
	for key, place := range map[string]*error{"unready": &w.unready, "unreadable": &w.unreadable} {
		if *place = nil; pairs[key] != "" {
			*place = errors.New(pairs[key])
		}
	}
	if pairs["refuse"] != "" {
		w.plane.refuseWith(errors.New(pairs["refuse"]))
		defer w.plane.refuseWith(nil)
	}
	lines, err := w.reload(input, dry)
	for _, l := range lines {
		out = append(out, "line: "+l)
	}
	if err != nil {
		out = append(out, "error: "+err.Error())
	}
	return out
}

// client is the n-th client of a pool, or its newest.
func (p *player) client(pool, n string) *sentinels {
	if n == "" {
		return p.w.latest(pool)
	}
	return p.w.sentinels[number(n, 0)]
}

func (p *player) view(t *testing.T, pool string, pairs map[string]string, input string) {
	v := &sentinelclient.View{Pool: pool, Ready: pairs["unready"] == "", Cause: pairs["unready"], Groups: map[string]sentinelclient.GroupView{}}
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		v.Groups[words[0]] = groupView(t, words[1:])
	}
	p.client(pool, pairs["client"]).deliver(v)
}

func groupView(t *testing.T, words []string) (g sentinelclient.GroupView) {
	for s := sentinelclient.GroupResolving; s.String() != words[0]; s++ {
		if s > sentinelclient.GroupNone {
			t.Fatalf("no state %s", words[0])
		}
		g.State = s + 1
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch value = text(value); key {
		case "master":
			g.Master, err = sentinelclient.ParseAddress(value)
		case "epoch":
			g.Epoch, err = strconv.ParseUint(value, 10, 64)
		case "authority":
			g.Authority, g.Vouched = true, "sentinels"
		case "lease":
			var left time.Duration
			left, err = time.ParseDuration(value)
			g.LeaseUntil = time.Now().Add(left)
		case "failover":
			g.Failover = value
		case "cause":
			g.Cause = value
		case "pinned":
			g.Pinned = true
		case "sign", "signed", "decided", "taken", "votes":
			err = elect(&g.Election, key, value)
		case "down-after":
			g.DownAfter, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("unknown word %s", w)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (p *player) topology(t *testing.T, words []string, pairs map[string]string, input string) {
	top := managerclient.Topology{Version: uint64(number(words[1], 0)), FromDisk: len(words) > 2, Manager: "10.0.0.9:7078"}
	for line := range strings.Lines(input) {
		f := strings.Fields(line)
		switch f[0] {
		case "groups":
			for _, g := range f[1:] {
				name, weight, _ := strings.Cut(g, ":")
				top.Groups = append(top.Groups, managerclient.Group{Name: name, Weight: number(weight, 1)})
			}
		case "sentinels":
			top.Sentinels = f[1:]
		case "set":
			if top.Settings == nil {
				top.Settings = map[string]string{}
			}
			top.Settings[f[1]] = f[2]
		default:
			t.Fatalf("unknown line %s", line)
		}
	}
	m := p.w.latestManager(words[0])
	if n := pairs["client"]; n != "" {
		m = p.w.managers[number(n, 0)]
	}
	m.deliver(top)
}

func (p *player) startSwitch(words []string) {
	w := p.w
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var res SwitchResult
		var err error
		if words[1] == "ALL" {
			done, err := w.ctl.SwitchAll(ctx, words[0])
			for _, d := range done {
				w.noteAside("switch of %s: OK %s %s", d.Group, d.Old, d.New)
			}
			w.noteAside("switch of all: done %d, error %v", len(done), err)
			return
		}
		if len(words) == 2 {
			res, err = w.ctl.Switch(ctx, words[0], words[1])
		} else {
			res, err = w.ctl.SwitchTo(ctx, words[0], words[1], words[2], number(words[3], 0))
		}
		if err != nil {
			w.noteAside("switch of %s: %v", words[1], err)
			return
		}
		w.noteAside("%s", strings.TrimSpace(fmt.Sprintf("switch of %s: OK %s %s %s", words[1], res.Old, res.New, res.Warning)))
	}()
}

func (p *player) rows() (out []string) {
	c := p.w.ctl
	for _, r := range c.Pools("") {
		if r.Adopted+r.Lacking > 0 {
			out = append(out, fmt.Sprintf("pool %s: %d adopted, %d lacking", r.Name, r.Adopted, r.Lacking))
		}
		out = append(out, fmt.Sprintf("pool %s: %s, %s %d, %d of %d groups up, epoch %d: %s", r.Name, r.State, r.Source, r.Version, r.GroupsUp, r.Groups, r.Epoch, clockTime.ReplaceAllString(r.Cause, "until then")))
	}
	for _, r := range c.Masters("", "") {
		out = append(out, fmt.Sprintf("master %s %s: '%s' #%d %s, %s from %s, %d switches: %s", r.Pool, r.Group, r.Master, r.Generation, r.State, r.Authority, r.Source, r.Switches, clockTime.ReplaceAllString(r.Cause, "until then")))
	}
	for _, cause := range c.Ready() {
		out = append(out, "not ready: "+cause)
	}
	if e := c.Process().ConfigError; e != "" {
		out = append(out, "refused: "+e)
	}
	return out
}
