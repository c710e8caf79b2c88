package main

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// book is every request of a group as its client saw it.
type book struct {
	mu  sync.Mutex
	ops []op
}

type op struct {
	began, ended time.Time
	failure      string // its kind, "" if it succeeded
}

func (b *book) note(began, ended time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops = append(b.ops, op{began, ended, failureKind(err)})
}

// noteAs is note for a client of one command, which its failures are told by.
func (b *book) noteAs(command string, began, ended time.Time, err error) {
	kind := failureKind(err)
	if kind != "" && kind != notConnected {
		kind = command + ": " + kind
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops = append(b.ops, op{began, ended, kind})
}

// sorted are the requests in the order of their ends.
func (b *book) sorted() []op {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(b.ops), func(a, b op) int { return a.ended.Compare(b.ended) })
}

// The kinds of failures that are told apart.
const (
	unknownOutcome = "outcome unknown"
	timedOut       = "timed out"
	waitedTooLong  = "held too long"
	connectionLost = "connection lost"
	notConnected   = "not connected" // no request was sent
	readOnly       = "READONLY"
)

var digits = regexp.MustCompile(`[0-9]+`)

func failureKind(err error) string {
	if err == nil {
		return ""
	}
	if ne, ok := errors.AsType[*net.OpError](err); ok && ne.Op == "dial" {
		return notConnected
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "timed out after") && strings.Contains(text, "waiting for a reply"): // a write adds that it may have been executed
		return timedOut
	case strings.Contains(text, "may or may not have been executed"):
		return unknownOutcome
	case strings.Contains(text, "is on hold"): // its cause may be a time-out
		return waitedTooLong
	case strings.Contains(text, "timed out"):
		return timedOut
	case strings.HasPrefix(text, "connection"):
		return connectionLost
	case strings.HasPrefix(text, readOnly):
		return readOnly
	}
	const most = 160
	text = digits.ReplaceAllString(text, "N")
	return text[:min(len(text), most)]
}

// outage is the longest time without a success that ends after the moment given, and counts nothing that ended before it.
func outage(ops []op, after time.Time) (from, to time.Time) {
	var last time.Time
	for _, o := range ops {
		if o.failure != "" {
			continue
		}
		if !last.IsZero() && o.ended.After(after) && o.ended.Sub(last) > to.Sub(from) {
			from, to = last, o.ended
		}
		last = o.ended
	}
	return from, to
}

// gapAround is the time without a success around a moment: from the last one before it to the first one after it.
func gapAround(ops []op, moment time.Time) (from, to time.Time) {
	for _, o := range ops {
		switch {
		case o.failure != "":
		case o.ended.After(moment):
			return from, o.ended
		default:
			from = o.ended
		}
	}
	return from, time.Time{}
}

// failures counts the requests that failed after the moment given, by kind.
func failures(ops []op, after time.Time) map[string]int {
	kinds := map[string]int{}
	for _, o := range ops {
		if o.failure != "" && !o.ended.Before(after) {
			kinds[o.failure]++
		}
	}
	return kinds
}

// slowest is the longest wait that ended after the moment given: of successes, or of all.
func slowest(ops []op, after time.Time, all bool) time.Duration {
	longest := time.Duration(0)
	for _, o := range ops {
		if !o.ended.Before(after) && (all || o.failure == "") {
			longest = max(longest, o.ended.Sub(o.began))
		}
	}
	return longest
}

// waits are those of the successes that ended between two moments.
func waits(ops []op, from, to time.Time) (all []time.Duration) {
	for _, o := range ops {
		if o.failure == "" && o.ended.After(from) && o.ended.Before(to) {
			all = append(all, o.ended.Sub(o.began))
		}
	}
	return all
}

// percentile99 is 0 if there are none.
func percentile99(waits []time.Duration) time.Duration {
	if len(waits) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(waits))[len(waits)*99/100]
}

// kindsText is "2 outcome unknown, 1 timed out".
func kindsText(kinds map[string]int) string {
	var parts []string
	for kind, n := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
