package engine

import (
	"testing"
	"time"
)

func TestModeration(t *testing.T) {
	for _, c := range []struct {
		name               string
		rest               time.Duration
		n, inflight, bytes int
		want               bool
	}{
		{"busy", time.Microsecond, restEvents, restInflight, 0, true},
		{"a lone request", time.Microsecond, 1, 1000, 0, false},
		{"few in flight", time.Microsecond, 10, restInflight - 1, 0, false},
		{"large replies", time.Microsecond, 10, 1000, restBytes, false},
		{"switched off", 0, 10, 1000, 0, false},
	} {
		m := moderation{rest: c.rest}
		if got := m.due(c.n, c.inflight, c.bytes); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
