package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"respgate/tests/harness"
)

func TestReplies(t *testing.T) {
	const text = "+OK\r\n-ERR no\r\n:12\r\n$-1\r\n$0\r\n\r\n$3\r\na\nb\r\n*0\r\n*-1\r\n*3\r\n$1\r\nx\r\n$-1\r\n*2\r\n:1\r\n-ERR\r\n+\r\n"
	want := []outcome{{}, {refused: true}, {}, {missing: true}, {}, {}, {}, {missing: true}, {refused: true, missing: true}, {}}
	for size := 1; size <= len(text); size++ { // cut into pieces of every size
		var in replies
		var got []outcome
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if err := in.feed(bytes.Clone(rest[:n]), func(o outcome) { got = append(got, o) }); err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Fatalf("pieces of %d:\n%s", size, diff)
		}
	}
	for _, bad := range []string{"hello\r\n", "$x\r\n", "*-2\r\n", "+OK\n", "\r\n", "%1\r\n"} {
		var in replies
		if err := in.feed([]byte(bad), func(outcome) {}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestLoad runs the generator in this process against a real server.
func TestLoad(t *testing.T) {
	server := harness.StartRedis(t, harness.RedisOptions{})
	ctx := context.Background()
	if err := seed(ctx, server.Addr(), "key:", 1000, 40000); err != nil { // more than a socket takes at once
		t.Fatal(err)
	}
	if n := server.Must("DBSIZE").Int; n != 1000 {
		t.Fatalf("%d keys were seeded, want 1000", n)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("key:000000000001\nnone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	usual := loadSpec{Address: server.Addr(), Conns: 3, Pipeline: 1, Prefix: "key:", Keys: 1000, Duration: 50 * time.Millisecond}
	tests := []struct {
		name    string
		change  func(*loadSpec)
		missing bool
	}{
		{"get", func(*loadSpec) {}, false},
		{"pipeline", func(s *loadSpec) { s.Pipeline = 20 }, false},
		{"mget", func(s *loadSpec) { s.Width = 30 }, false},
		{"rate", func(s *loadSpec) { s.Rate = 500 }, false},
		{"keys that are not there", func(s *loadSpec) { s.Keys = 2000 }, true},
		{"keys of a file", func(s *loadSpec) { s.KeyFile = keys }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := usual
			tt.change(&spec)
			if err := spec.check(); err != nil {
				t.Fatal(err)
			}
			l, err := newLoader(spec)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			if err := l.connect(ctx); err != nil {
				t.Fatal(err)
			}
			before := commands(server)
			r, err := l.measure(ctx)
			if err != nil {
				t.Fatal(err)
			}
			// INFO itself is a command, one per call.
			if sent := commands(server) - before - 1; sent != r.Requests || r.Requests < spec.Pipeline || r.Errors > 0 || r.Unanswered > 0 {
				t.Errorf("%+v; the server has executed %d", r, sent)
			}
			if (r.Missing > 0) != tt.missing {
				t.Errorf("%d answers without a value", r.Missing)
			}
			if r.P50 <= 0 || r.P99 < r.P50 || r.Most < r.P99 || r.Seconds <= 0 {
				t.Errorf("times make no sense: %+v", r)
			}
			if spec.Rate > 0 && r.Requests != 25 {
				t.Errorf("%d requests in 50 ms at 500/s", r.Requests)
			}
		})
	}
}

// commands is how many commands the server has executed.
func commands(server *harness.Redis) int {
	var n int
	for line := range bytes.Lines([]byte(server.Must("INFO", "stats").Str)) {
		if rest, ok := bytes.CutPrefix(line, []byte("total_commands_processed:")); ok {
			for _, c := range bytes.TrimSpace(rest) {
				n = 10*n + int(c-'0')
			}
		}
	}
	return n
}

// TestLoadErrors: an answer that is an error is counted, and the first request of a connection must not have one.
func TestLoadErrors(t *testing.T) {
	server := harness.StartRedis(t, harness.RedisOptions{})
	server.Must("LPUSH", "key:000000000000", "x") // GET of it is an error
	spec := loadSpec{Address: server.Addr(), Conns: 1, Pipeline: 1, Prefix: "key:", Keys: 1, Duration: time.Millisecond}
	l, err := newLoader(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.connect(context.Background()); err == nil {
		t.Error("the error was not noticed")
	}
}

func TestLoadFlags(t *testing.T) {
	spec := loadSpec{
		Address: "127.0.0.1:6401", Conns: 7, Pipeline: 3, Width: 5, Prefix: "p:", Keys: 9, KeyFile: "f", Duration: 3 * time.Second, Rate: 11,
	}
	var got loadSpec
	f := newFlags("load", "")
	got.flags(f)
	if err := f.Parse(spec.args()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec, got); diff != "" {
		t.Error(diff)
	}
}
