package harness

import (
	"slices"
	"strings"
	"testing"
)

// Open connects to host:port until the test ends.
func Open(t testing.TB, addr string) *Conn {
	t.Helper()
	c, err := Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// must is Do for a request that has to be answered.
func (c *Conn) must(t testing.TB, args []string) Reply {
	t.Helper()
	got, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return got
}

// Want sends a request and compares the reply's text.
func Want(t testing.TB, c *Conn, text string, args ...string) {
	t.Helper()
	if got := c.must(t, args); got.Text() != text {
		t.Errorf("%s: %q, want %q", strings.Join(args, " "), got.Text(), text)
	}
}

// WantPrefix sends a request and compares how the reply's text begins.
func WantPrefix(t testing.TB, c *Conn, prefix string, args ...string) {
	t.Helper()
	if got := c.must(t, args); !strings.HasPrefix(got.Text(), prefix) {
		t.Errorf("%s: %q, want %q...", strings.Join(args, " "), got.Text(), prefix)
	}
}

// WantError sends a request that has to fail with a text that has each part in it.
func WantError(t testing.TB, c *Conn, parts []string, args ...string) {
	t.Helper()
	got := c.must(t, args)
	for _, part := range parts {
		if got.Kind != '-' || !strings.Contains(got.Str, part) {
			t.Errorf("%s: %q, want an error with %q", strings.Join(args, " "), got.Text(), part)
		}
	}
}

// Sound allows so many errors, and nothing else: no reply that belongs to another request, nothing lost, stale or twice.
func Sound(t testing.TB, r GroupReport, failed int) {
	t.Helper()
	if r.Failed() > failed || r.Lost > 0 || r.Duplicates > 0 || r.Stale > 0 || r.Wrong > 0 {
		t.Errorf("at most %d errors may come of this, and nothing else: %v", failed, r)
	}
}

// Untouched fails the test for each group (none: all) whose load saw anything at all of what happened.
func Untouched(t testing.TB, reports []GroupReport, groups ...string) {
	t.Helper()
	for _, r := range reports {
		if len(groups) > 0 && !slices.Contains(groups, r.Group) {
			continue
		}
		Sound(t, r, 0)
		if r.Requests == 0 {
			t.Errorf("group %s: no request succeeded", r.Group)
		}
	}
}

// Mebibytes is a bound on a program's memory; the race detector's own comes on top.
func Mebibytes(n int64) int64 {
	if RaceBuilt() {
		n *= 6
	}
	return n << 20
}
