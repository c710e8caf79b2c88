package engine

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"respgate/engine/topology"
)

// scanner makes a server scan its keys, three at a time, with cursors that are anything but small.
func (s *fake) scanner(keys []string) {
	const stride = 1 << 40
	s.on(func(_ *fakeConn, args []string) (string, bool) {
		if !strings.EqualFold(args[0], "SCAN") {
			return "", false
		}
		at, err := strconv.Atoi(args[1])
		if err != nil || at%stride != 0 {
			return "-ERR the server was sent cursor " + args[1] + "\r\n", true
		}
		from := at / stride
		to := min(from+3, len(keys))
		next := to * stride
		if to == len(keys) {
			next = 0
		}
		var found []string
		for _, k := range keys[from:to] {
			found = append(found, bulk(k))
		}
		return array(bulk(strconv.Itoa(next)), array(found...)), true
	})
}

// scan walks from a cursor and returns the keys and the cursors on the way.
func (a *app) scan(cursor string, more ...string) (keys, cursors []string) {
	a.t.Helper()
	for range 1000 {
		a.send(req(append([]string{"SCAN", cursor}, more...)...))
		a.want("*2\r\n")
		cursor = a.text()
		n := 0
		if _, err := fmt.Sscanf(a.line(), "*%d\r\n", &n); err != nil {
			a.t.Fatal(err)
		}
		for range n {
			keys = append(keys, a.text())
		}
		if cursors = append(cursors, cursor); cursor == "0" {
			return keys, cursors
		}
	}
	a.t.Fatalf("SCAN does not end: %q", cursors[:10])
	return nil, nil
}

func TestScan(t *testing.T) {
	each(t, func(t *testing.T, v variant) {
		groups := []string{"g1", "g2", "g3", "g4"}
		r := newRig(t, v, groups)
		var want []string
		for i, g := range groups {
			var keys []string
			for k := range []int{10, 0, 1, 6}[i] {
				keys = append(keys, g+":"+strconv.Itoa(k))
			}
			r.servers[g].scanner(keys)
			want = append(want, keys...)
		}
		a := r.dial()
		for _, hello3 := range []bool{false, true} {
			if hello3 {
				a.do(hello("7.2.4", 1, true), "HELLO", "3")
			}
			keys, cursors := a.scan("0", "MATCH", "*", "COUNT", "3", "TYPE", "string")
			if !slices.Equal(keys, want) {
				t.Errorf("keys %q, want %q", keys, want)
			}
			if len(cursors) != 4+1+1+2 || cursors[3] != "1" || cursors[4] != "2" {
				t.Errorf("cursors %q", cursors)
			}
		}
		for _, sent := range r.servers["g4"].requests() {
			if !strings.HasSuffix(sent, " MATCH * COUNT 3 TYPE string") {
				t.Errorf("g4 was sent %q", sent)
			}
		}
		// What goes on in other groups does not matter.
		r.apply(change("g1", onHold), change("g4", onHold))
		a.do(array(bulk("3"), array(bulk("g3:0"))), "SCAN", "2")
		for _, bad := range []string{"x", "1x", " 1", "1 ", "18446744073709551616", "-", "1e3"} {
			a.do("-ERR invalid cursor\r\n", "SCAN", bad)
		}
		r.apply(change("g1", func(g *topology.Group) { g.Hold = false }))
		a.do(array(bulk(strconv.Itoa(3<<42)), array(bulk("g1:0"), bulk("g1:1"), bulk("g1:2"))), "SCAN", "")
		a.do(array(bulk("3"), array(bulk("g3:0"))), "SCAN", "+02")
	})
}

// TestScanOddReplies: what is no reply of SCAN is blamed on its server.
func TestScanOddReplies(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	a := r.dial()
	odd := "-ERR respgate: group 'g2': " + r.servers["g2"].ln.Addr().String() + " answered scan with a reply of another shape\r\n"
	for reply, want := range map[string]string{
		"+OK\r\n": odd, "*0\r\n": odd, "*2\r\n:1\r\n*0\r\n": odd, "*2\r\n$1\r\nx\r\n*0\r\n": odd, "*2\r\n$0\r\n\r\n*0\r\n": odd, "*2\r\n$-1\r\n*0\r\n": odd,
		"*3\r\n$1\r\n1\r\n*0\r\n*0\r\n":              odd,
		"-ERR syntax error\r\n":                      "-ERR syntax error (respgate: group 'g2')\r\n",
		array(bulk("9223372036854775808"), "*0\r\n"): odd, // twice of it is too much
		array(bulk("9223372036854775807"), "*0\r\n"): array(bulk(strconv.FormatUint(math.MaxUint64, 10)), "*0\r\n"),
	} {
		r.servers["g2"].says(map[string]string{"SCAN": reply})
		a.do(want, "SCAN", "1")
	}
	if got := r.servers["g2"].requests(); got[0] != "SCAN 0" {
		t.Errorf("g2 was sent %q", got)
	}
	r.servers["g2"].says(map[string]string{"SCAN 9223372036854775807": array(bulk("0"), "*0\r\n")})
	a.do(array(bulk("0"), "*0\r\n"), "SCAN", "-1")
}

// TestScanLargeReply: the keys are passed on as they are, in many pieces.
func TestScanLargeReply(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain, []string{"g1", "g2"})
	keys := bulk(strings.Repeat("k", 100_000)) + bulk(strings.Repeat("l", 200_000)) + bulk("m")
	r.servers["g1"].says(map[string]string{"SCAN": array(bulk("17"), "*3\r\n"+keys)})
	a := r.dial()
	a.do(array(bulk("34"), "*3\r\n"+keys), "SCAN", "8")
	a.send("SCAN 8\r\n")
	a.want(array(bulk("34"), "*3\r\n"+keys))
	r.idle()
	r.apply(change("g1", onHold), set(func(s *topology.Settings) { s.HoldTimeout = time.Millisecond }))
	a.send(req("SCAN", "8"))
	a.wantError("ERR respgate: group 'g1' is on hold")
}
