package managerclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"respgate/internal/respconn"
)

// transcript runs one machine under a clock that moves only when a script says so. The scripts in testdata/machine read:
//
//	start [addresses=(a,b)] [cluster=c] [dir] [stored=v|damaged]   configuration and first step
//	dialed | failed <text> | garbage                               what the link tells
//	reply                                                          an answer, as JSON: strings, numbers, arrays, {"error": "..."}, null
//	stale-reply                                                    the same of an earlier attempt
//	applied v=n | refused v=n cause=... | saved v=n [failed]       what control and the disk tell
//	wait [for=1s]                                                  move the clock to the next tick, or by a duration, with the ticks on the way
//	reconfigure ...                                                as start
//	status                                                         what the console shows
type transcript struct {
	m     *machine
	now   time.Time
	begin time.Time
}

func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		tr := &transcript{now: time.Unix(1_800_000_000, 0)}
		tr.begin = tr.now
		datadriven.RunTest(t, path, tr.run)
	})
}

func (tr *transcript) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "start":
		cfg, stored := tr.config(t, d)
		tr.m = newMachine(cfg, func(d time.Duration) time.Duration { return d })
		return tr.step(evStart{stored: stored})
	case "reconfigure":
		cfg, stored := tr.config(t, d)
		return tr.step(evReconfigure{cfg: cfg, stored: stored})
	case "dialed":
		return tr.step(evDialed{attempt: tr.m.attempt})
	case "failed":
		return tr.step(evFailed{attempt: tr.m.attempt, err: errors.New(d.Input)})
	case "garbage":
		return tr.step(evFailed{attempt: tr.m.attempt, err: fmt.Errorf("heartbeat: %w", &respconn.ProtocolError{Reason: d.Input})})
	case "reply":
		return tr.step(evReply{attempt: tr.m.attempt, v: valueOf(t, d.Input)})
	case "stale-reply":
		return tr.step(evReply{attempt: tr.m.attempt - 1, v: valueOf(t, d.Input)})
	case "applied":
		return tr.step(evApplied{version: version(t, d)})
	case "refused":
		return tr.step(evRefused{version: version(t, d), cause: d.Input})
	case "saved":
		ev := evSaved{cluster: tr.m.cfg.Cluster, version: version(t, d)}
		if d.HasArg("failed") {
			ev.err = errors.New("no space left on device")
		}
		return tr.step(ev)
	case "wait":
		return tr.wait(t, d)
	case "status":
		return tr.status()
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

func (tr *transcript) config(t *testing.T, d *datadriven.TestData) (Config, loaded) {
	cfg := Config{Pool: "cache", Cluster: "c1", Addresses: []string{"a:1"}, Timeout: 500 * time.Millisecond, ProxyID: "p1"}
	stored := loaded{err: errNothingStored}
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "addresses":
			cfg.Addresses = arg.Vals
		case "cluster":
			cfg.Cluster = arg.Vals[0]
		case "dir":
			cfg.StateDir = "/state"
		case "password":
			cfg.Password = arg.Vals[0]
		case "stored":
			cfg.StateDir = "/state"
			n, err := strconv.ParseUint(arg.Vals[0], 10, 64)
			if err != nil {
				stored = loaded{err: errors.New("the file is damaged")}
				break
			}
			stored = loaded{topology: &Topology{Version: n, Groups: []Group{{"g1", 1}}, Sentinels: []string{"s:1"}, FromDisk: true}}
		default:
			d.Fatalf(t, "unknown argument %s", arg.Key)
		}
	}
	return cfg.withDefaults(), stored
}

func version(t *testing.T, d *datadriven.TestData) (v uint64) {
	d.ScanArgs(t, "v", &v)
	return v
}

func (tr *transcript) step(ev event) string {
	var b strings.Builder
	for _, a := range tr.m.Step(tr.now, ev) {
		b.WriteString(show(a) + "\n")
	}
	p := tr.m.peer()
	fmt.Fprintf(&b, "%s %s, wakes in %s\n", p.address, p.state, tr.m.wake.Sub(tr.now))
	return b.String()
}

func show(a action) string {
	switch a := a.(type) {
	case actDial:
		return "dial " + a.address
	case actHeartbeat:
		return strings.Join(a.args, " ")
	case actClose:
		return "close"
	case actDeliver:
		return "deliver " + showTopology(a.topology)
	case actSave:
		return "save " + showTopology(a.topology)
	case actLog:
		var attrs []string
		for _, at := range a.attrs[2:] { // pool and cluster lead every line
			attrs = append(attrs, at.String())
		}
		return fmt.Sprintf("%s %q %s", a.level, a.msg, strings.Join(attrs, ", "))
	}
	return fmt.Sprintf("unknown action %T", a)
}

func showTopology(t Topology) string {
	s := fmt.Sprintf("v%d %v %v", t.Version, t.Groups, t.Sentinels)
	if t.Settings != nil {
		s += fmt.Sprintf(" %v", t.Settings)
	}
	if t.FromDisk {
		s += " from disk"
	}
	return s
}

func (tr *transcript) wait(t *testing.T, d *datadriven.TestData) string {
	if !d.HasArg("for") {
		if tr.m.wake.After(tr.now) {
			tr.now = tr.m.wake
		}
		return tr.step(evTick{})
	}
	var text string
	d.ScanArgs(t, "for", &text)
	dur, err := time.ParseDuration(text)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	tr.now = tr.now.Add(dur)
	return tr.step(evTick{})
}

func (tr *transcript) status() string {
	c := &Client{}
	c.publish(tr.m)
	var b strings.Builder
	for _, s := range c.Status() {
		fmt.Fprintf(&b, "%s %s", s.Address, s.State)
		if s.Active {
			b.WriteString(" active")
		}
		fmt.Fprintf(&b, " version=%d told=%d applied=%d rejected=%d", s.Version, s.Told, s.Applied, s.Rejected)
		if !s.LastHeartbeat.IsZero() {
			fmt.Fprintf(&b, " heard=+%s", s.LastHeartbeat.Sub(tr.begin))
		}
		fmt.Fprintf(&b, " since=+%s cause=%q\n", s.Since.Sub(tr.begin), s.Cause)
	}
	return b.String()
}

// valueOf turns JSON into a reply.
func valueOf(t *testing.T, text string) respconn.Value {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return fromJSON(t, v)
}

func fromJSON(t *testing.T, v any) respconn.Value {
	switch v := v.(type) {
	case nil:
		return respconn.Nil()
	case string:
		return respconn.Bulk(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			t.Fatal(err)
		}
		return respconn.Int(n)
	case []any:
		elems := make([]respconn.Value, len(v))
		for i, e := range v {
			elems[i] = fromJSON(t, e)
		}
		return respconn.List(elems...)
	case map[string]any:
		return respconn.Value{Kind: respconn.Error, Str: v["error"].(string)}
	}
	t.Fatalf("no reply: %v", v)
	return respconn.Value{}
}
