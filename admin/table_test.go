package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"respgate/internal/status"
)

// TestTable holds the rules of the table that its users rely on.
func TestTable(t *testing.T) {
	t.Parallel()
	table := newTable()
	for _, c := range table.all() {
		if c.name != strings.ToLower(c.name) || strings.ContainsAny(c.name, " |") || len(c.full) > longestName {
			t.Errorf("%s: a name is one word in lower case", c.full)
		}
		if table.lookup(strings.ToUpper(c.full)) != c {
			t.Errorf("%s: not found in upper case", c.full)
		}
		if c.group == "" || c.summary == "" || strings.HasSuffix(c.summary, ".") {
			t.Errorf("%s: a summary without its full stop, and a group", c.full)
		}
		if c.handler == nil && len(c.subcommands) == 0 {
			t.Errorf("%s: nothing runs it", c.full)
		}
		if c.handler != nil && (c.reply == "" || c.example == "") {
			t.Errorf("%s: no reply or no example", c.full)
		}
		for _, e := range c.errors {
			if !strings.HasPrefix(e, "-") {
				t.Errorf("%s: error %q without its sign", c.full, e)
			}
		}
		if !slices.IsSortedFunc(c.subcommands, func(a, b *command) int { return strings.Compare(a.name, b.name) }) {
			t.Errorf("%s: subcommands out of order", c.full)
		}
	}
}

func TestArity(t *testing.T) {
	t.Parallel()
	table := newTable()
	for name, want := range map[string]struct {
		arity  int
		counts []int // of up to 8 arguments
	}{
		"proxy":         {-2, []int{0}},
		"command":       {-1, []int{0}},
		"ping":          {-1, []int{0, 1}},
		"echo":          {2, []int{1}},
		"auth":          {-2, []int{1, 2}},
		"hello":         {-1, []int{0, 1, 3, 4, 6}},
		"proxy|switch":  {-4, []int{2, 4}},
		"proxy|rotate":  {-3, []int{1, 3}},
		"proxy|masters": {-2, []int{0, 1, 2}},
		"proxy|config":  {-6, []int{4, 5}},
		"proxy|route":   {-4, []int{2, 3, 4, 5, 6, 7, 8}},
		"config|set":    {-4, []int{2, 4, 6, 8}},
		"config|get":    {-3, []int{1, 2, 3, 4, 5, 6, 7, 8}},
		"client|kill":   {4, []int{2}},
		"command|list":  {-2, []int{0, 3}},
		"info":          {-1, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
	} {
		c := table.lookup(name)
		if c == nil {
			t.Errorf("%s: no such command", name)
			continue
		}
		var counts []int
		for n := range 9 {
			if accepts(c.arguments, n) {
				counts = append(counts, n)
			}
		}
		if c.arity() != want.arity || !slices.Equal(counts, want.counts) {
			t.Errorf("%s: arity %d, arguments %v; want %d, %v", name, c.arity(), counts, want.arity, want.counts)
		}
	}
	if !accepts(table.lookup("proxy|route").arguments, 1020) || accepts(table.lookup("config|set").arguments, 1001) {
		t.Error("many arguments")
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	table := newTable()
	for name, want := range map[string]string{
		"proxy|switch":  "PROXY SWITCH pool group [host port]",
		"proxy|masters": "PROXY MASTERS [pool [group]]",
		"proxy|route":   "PROXY ROUTE pool key [key ...]",
		"proxy|reload":  "PROXY RELOAD [DRYRUN]",
		"hello":         "HELLO [protover [AUTH username password] [SETNAME clientname]]",
		"client|kill":   "CLIENT KILL ID client-id",
		"config|set":    "CONFIG SET parameter value [parameter value ...]",
		"info":          "INFO [section [section ...]]",
		"ping":          "PING [message]",
		"quit":          "QUIT",
	} {
		expect(t, table.lookup(name).usage(), want)
	}
}

func TestErrorValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{Error{"NOQUORUM", "1 of 3"}, "NOQUORUM 1 of 3"},
		{&Error{"NOQUORUM", "1 of 3"}, "NOQUORUM 1 of 3"},
		{fmt.Errorf("switch: %w", Error{"INPROG", "a\r\nb"}), "INPROG a; b"},
		{Error{"", "no code"}, "ERR no code"},
		{errors.New("a\nb\n"), "ERR a; b"},
	} {
		if got := errorValue(c.err); got.Str != c.want || !got.IsError() {
			t.Errorf("got %q, want %q", got.Str, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	bounds := []time.Duration{time.Microsecond, 10 * time.Microsecond}
	for _, c := range []struct {
		buckets  []uint64
		perMille uint64
		want     string
	}{
		{[]uint64{0, 0, 0}, 500, "0"},
		{[]uint64{1, 0, 0}, 500, "1"},
		{[]uint64{1, 1, 0}, 500, "1"},
		{[]uint64{1, 1, 0}, 501, "10"},
		{[]uint64{0, 0, 1}, 1, ">10"},
		{[]uint64{999, 1, 0}, 999, "1"},
		{[]uint64{998, 1, 1}, 999, "10"},
		{[]uint64{1 << 60, 1 << 60, 1}, 990, "10"},
	} {
		if got := quantile(status.Latency{Bounds: bounds, Buckets: c.buckets}, c.perMille); got != c.want {
			t.Errorf("%v, %d per mille: %s, want %s", c.buckets, c.perMille, got, c.want)
		}
	}
}
