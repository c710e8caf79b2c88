package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLogLevel: what PROXY LOGLEVEL sets holds from the next line on, and a level that there is not changes nothing.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	level := &slog.LevelVar{}
	log := newLogger(&out, "json", level)
	c := console{level: level}
	log.Debug("first")
	if err := c.SetLogLevel("debug"); err != nil {
		t.Fatal(err)
	}
	log.Debug("second")
	if err := c.SetLogLevel("loud"); err == nil {
		t.Error("a level that there is not was taken")
	}
	log.Debug("third")
	if err := c.SetLogLevel("error"); err != nil {
		t.Fatal(err)
	}
	log.Warn("fourth")
	got := out.String()
	for word, want := range map[string]bool{"first": false, "second": true, "third": true, "fourth": false} {
		if strings.Contains(got, word) != want {
			t.Errorf("%q in the log: %t, want %t", word, !want, want)
		}
	}
}
