package sentinelclient

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"respgate/internal/respconn"
)

// TestLinkTranscripts drives the link's machine by the scripts in testdata/link.
func TestLinkTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/link", func(t *testing.T, path string) {
		var l *link
		var wires wireID
		c := clock{now: epoch0}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			step := func(ev any) string { return lines(l.Step(c.now, ev)) + l.sketch() }
			wire := wireID(intArg(t, d, "wire", 1))
			switch d.Cmd {
			case "link":
				cfg := Config{}.withDefaults()
				s := Sentinel{Address: Address{"10.0.0.1", 26379}, User: arg(t, d, "user", ""), Password: arg(t, d, "password", "")}
				wires = 0
				l = newLink(1, s, &cfg, half, &wires, c.now)
				l.setGroups(c.now, strings.Split(arg(t, d, "groups", "g1"), ","))
				return step(evStart{})
			case "connected":
				return step(evConnected{wire})
			case "broken":
				var err error = errors.New(arg(t, d, "err", "broken"))
				if d.HasArg("protocol") {
					err = &respconn.ProtocolError{Reason: arg(t, d, "protocol", "")}
				}
				return step(evBroken{wire, err})
			case "values": // one per line
				var b strings.Builder
				for line := range strings.Lines(d.Input) {
					b.WriteString(lines(l.Step(c.now, evValue{wire, parseValue(t, strings.TrimSpace(line))})))
				}
				return b.String() + l.sketch()
			case "confirm":
				kind := "*"
				if l.resp3 {
					kind = ">"
				}
				var b strings.Builder
				for i, p := range patterns {
					v := parseValue(t, fmt.Sprintf("%s3 $psubscribe $%s :%d", kind, p, i+1))
					b.WriteString(lines(l.Step(c.now, evValue{wire, v})))
				}
				return b.String() + l.sketch()
			case "query":
				return step(evQuery{group: arg(t, d, "group", "g1")})
			case "groups":
				return lines(l.setGroups(c.now, strings.Split(arg(t, d, "names", ""), ","))) + l.sketch()
			case "park":
				return step(evPark{})
			case "urgent":
				l.setUrgent(c.now, true)
				return l.sketch()
			case "advance":
				end := c.now.Add(durationArg(t, d, "by", "1s"))
				var b strings.Builder
				for n := l.next(); !n.IsZero() && !n.After(end); n = l.next() {
					if n.After(c.now) {
						c.now = n
					}
					fmt.Fprintf(&b, "%v:\n%s", &c, lines(l.Step(c.now, evTick{})))
				}
				c.now = end
				return b.String() + l.sketch()
			case "status":
				s := l.status(false)
				s.Since, s.LastPong = time.Time{}, time.Time{}
				return fmt.Sprintf("missed %d rtt %v tilt %v events %d ignored %d\n", s.Missed, s.RTT, s.Tilt, s.Events, s.Ignored)
			}
			t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

func (l *link) sketch() string {
	s := fmt.Sprintf("[%v", l.state)
	if l.cause != "" {
		s += "; " + l.cause
	}
	return s + "]\n"
}
