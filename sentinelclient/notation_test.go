package sentinelclient

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"respgate/internal/respconn"
)

// This file is the notation of the transcripts: RESP values as words, such as
//
//	>4 $pmessage $+sdown $+sdown "$master g1 127.0.0.1 7001"
//
// and virtual time that starts at zero.

var epoch0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// words cuts a line at blanks, except within quotes.
func words(line string) []string {
	var out []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			end := strings.IndexByte(line[1:], '"')
			out = append(out, strings.ReplaceAll(line[1:end+1], `\r\n`, "\r\n"))
			line = line[end+2:]
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		out = append(out, word)
		line = rest
	}
	return out
}

func parseValue(t testing.TB, line string) respconn.Value {
	t.Helper()
	if rest, ok := strings.CutPrefix(line, "MASTER "); ok {
		return masterReply(t, rest)
	}
	w := words(line)
	v := value(t, &w)
	if len(w) > 0 {
		t.Fatalf("left over in %q: %v", line, w)
	}
	return v
}

func value(t testing.TB, w *[]string) respconn.Value {
	t.Helper()
	if len(*w) == 0 {
		t.Fatal("a value is missing")
	}
	word := (*w)[0]
	*w = (*w)[1:]
	v := respconn.Value{Kind: respconn.Kind(word[0]), Str: word[1:]}
	switch v.Kind {
	case respconn.Null:
		v.Null = true
	case respconn.Integer:
		n, err := strconv.ParseInt(v.Str, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		v.Int, v.Str = n, ""
	case respconn.Array, respconn.Push, respconn.Map, respconn.Set:
		n, err := strconv.Atoi(v.Str)
		if err != nil {
			t.Fatal(err)
		}
		if v.Str = ""; n < 0 {
			v.Null = true
			return v
		}
		if v.Kind == respconn.Map {
			n *= 2
		}
		for range n {
			v.Elems = append(v.Elems, value(t, w))
		}
	}
	return v
}

// masterReply is a reply of SENTINEL MASTER: <group> <address> [field=value ...].
func masterReply(t testing.TB, line string) respconn.Value {
	t.Helper()
	w := words(line)
	a, err := ParseAddress(w[1])
	if err != nil {
		t.Fatal(err)
	}
	fields := []string{"name", w[0], "ip", a.Host, "port", strconv.Itoa(a.Port), "runid", "r", "flags", "master",
		"last-ok-ping-reply", "100", "down-after-milliseconds", "5000", "config-epoch", "0", "num-slaves", "1",
		"num-other-sentinels", "2", "quorum", "2"}
	for _, f := range w[2:] {
		name, val, _ := strings.Cut(f, "=")
		at := -1
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == name {
				at = i
			}
		}
		if at < 0 {
			fields = append(fields, name, val)
		} else {
			fields[at+1] = val
		}
	}
	v := respconn.Value{Kind: respconn.Map}
	for _, f := range fields {
		v.Elems = append(v.Elems, respconn.Bulk(f))
	}
	return v
}

func arg(t testing.TB, d *datadriven.TestData, key, def string) string {
	t.Helper()
	if a, ok := d.Arg(key); ok {
		if len(a.Vals) == 0 {
			return "true"
		}
		return strings.Join(a.Vals, ",")
	}
	return def
}

func intArg(t testing.TB, d *datadriven.TestData, key string, def int) int {
	t.Helper()
	n, err := strconv.Atoi(arg(t, d, key, strconv.Itoa(def)))
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return n
}

func durationArg(t testing.TB, d *datadriven.TestData, key, def string) time.Duration {
	t.Helper()
	v, err := time.ParseDuration(arg(t, d, key, def))
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return v
}

// half is the jitter of the transcripts.
func half() float64 { return 0.5 }

// clock is the virtual time of a transcript.
type clock struct{ now time.Time }

func (c *clock) String() string { return c.now.Sub(epoch0).String() }

func lines(list []action) string {
	var b strings.Builder
	for _, a := range list {
		s := a.String()
		if before, _, ok := strings.Cut(s, "PSUBSCRIBE +"); ok {
			s = before + "PSUBSCRIBE ..."
		}
		fmt.Fprintln(&b, s)
	}
	return b.String()
}
