package sentinelclient

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestDecideTranscripts counts the votes of testdata/decide. A vote is an
// address and an epoch, or "unknown"; letters stand for addresses.
func TestDecideTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/decide", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "decide" {
				t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			}
			var votes []vote
			for line := range strings.Lines(d.Input) {
				w := words(line)
				if w[0] == "unknown" {
					votes = append(votes, vote{Unknown: true})
					continue
				}
				e, err := strconv.ParseUint(w[1], 10, 64)
				if err != nil {
					t.Fatalf("%s: %v", d.Pos, err)
				}
				votes = append(votes, vote{Master: letter(w[0]), Epoch: e, NoEpoch: d.HasArg("noepoch")})
			}
			s := standing{Single: d.HasArg("single"), Healthy: !d.HasArg("gone"), Epoch: uint64(intArg(t, d, "epoch", 0))}
			if m := arg(t, d, "master", ""); m != "" {
				s.Master = letter(m)
			} else {
				s.Healthy = false
			}
			if r := arg(t, d, "replicas", ""); r != "" {
				for _, name := range strings.Split(r, ",") {
					s.Replicas = append(s.Replicas, letter(name))
				}
			}
			s.Refused = func(a Address) bool {
				return slices.Contains(strings.Split(arg(t, d, "refused", ""), ","), a.Host)
			}
			tally := count(intArg(t, d, "of", 3), intArg(t, d, "silent", 0), votes)
			// The order in which votes arrive means nothing.
			c := choose(tally, s)
			slices.Reverse(votes)
			if r := choose(count(intArg(t, d, "of", 3), intArg(t, d, "silent", 0), votes), s); r != c {
				t.Errorf("%s: in reverse order: %+v, not %+v", d.Pos, r, c)
			}
			out := "nobody"
			if !c.Target.Address.IsZero() {
				out = fmt.Sprintf("%s at %d", c.Target.Address.Host, c.Epoch)
			}
			switch {
			case !c.Accept:
				out += ", not accepted"
			case c.Settle:
				out += ", accepted if it stays"
			default:
				out += ", accepted"
			}
			if c.Why != "" {
				out += "; " + c.Why
			}
			return out + "\n"
		})
	})
}

func letter(name string) Address { return Address{Host: name, Port: 1} }
