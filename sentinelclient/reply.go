package sentinelclient

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// This file is the half of a link that reads what the sentinel says.

// refusal is an error reply. Prefixes are matched, not texts: those differ
// from version to version.
type refusal struct {
	request string
	text    string
}

func (r *refusal) Error() string { return r.request + ": " + r.text }

func newRefusal(request string, v respconn.Value) *refusal {
	return &refusal{request: request, text: clip(printable(v.Str))}
}

func (r *refusal) code() string {
	code, _, _ := strings.Cut(r.text, " ")
	return code
}

func isAuthError(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	switch r.code() {
	case "NOAUTH", "WRONGPASS", "NOPERM":
		return true
	}
	return false
}

func isAuthCause(cause string) bool {
	return strings.Contains(cause, ": NOAUTH") || strings.Contains(cause, ": WRONGPASS") || strings.Contains(cause, ": NOPERM")
}

// noPassword: AUTH was refused because none is asked for, which is no reason
// not to go on.
func noPassword(v respconn.Value) bool {
	return strings.Contains(v.Str, "without any password configured") || strings.Contains(v.Str, "no password is set")
}

func isProtocolError(err error) bool {
	var p *respconn.ProtocolError
	return errors.As(err, &p)
}

// printable keeps a peer's bytes from breaking a line of a log or a console.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, s)
}

func (l *link) onValue(now time.Time, id wireID, v respconn.Value) {
	switch {
	case id == 0:
	case id == l.sub.id:
		l.quiet, l.missed = false, 0
		if l.pushed(v) {
			l.onPush(now, v)
			return
		}
		l.onReply(now, &l.sub, v)
	case id == l.asking.id:
		l.onReply(now, &l.asking, v)
	}
}

// pushed tells what comes by itself from replies: by its kind with RESP3, by
// its first word on a subscribed wire with RESP2.
func (l *link) pushed(v respconn.Value) bool {
	if v.Kind == respconn.Push {
		return true
	}
	if l.resp3 || l.unconfirmed == nil || v.Kind != respconn.Array || len(v.Elems) == 0 {
		return false
	}
	switch word, _ := bulk(v.Elems[0]); word {
	case "pong":
		return false
	}
	return true
}

// onPush takes confirmations and messages; anything else is counted.
func (l *link) onPush(now time.Time, v respconn.Value) {
	var word string
	if len(v.Elems) > 0 {
		word, _ = bulk(v.Elems[0])
	}
	switch {
	case word == "psubscribe" && len(v.Elems) == 3:
		pattern, _ := bulk(v.Elems[1])
		if !l.unconfirmed[pattern] {
			l.ignored++
			return
		}
		delete(l.unconfirmed, pattern)
		l.ready(now)
	case word == "pmessage" && len(v.Elems) == 4:
		pattern, ok1 := bulk(v.Elems[1])
		channel, ok2 := bulk(v.Elems[2])
		payload, ok3 := bulk(v.Elems[3])
		if !ok1 || !ok2 || !ok3 || !matches(pattern, channel) {
			l.ignored++
			return
		}
		l.onMessage(channel, payload)
	default:
		l.ignored++
	}
}

// matches reports whether pattern is one of ours and channel falls under it.
func matches(pattern, channel string) bool {
	for _, p := range patterns {
		if p == pattern {
			prefix, star := strings.CutSuffix(p, "*")
			return channel == p || star && strings.HasPrefix(channel, prefix)
		}
	}
	return false
}

func (l *link) onMessage(channel, payload string) {
	e, err := parseEvent(channel, payload)
	if err != nil {
		l.ignored++
		return
	}
	if e.group == "" {
		l.events++
		if e.name == "+tilt" || e.name == "-tilt" {
			l.setTilt(e.name == "+tilt")
		}
		return
	}
	if !l.wanted[e.group] {
		l.ignored++
		return
	}
	l.events++
	l.out.add(heard{link: l.id, event: e})
}

func (l *link) setTilt(on bool) {
	if l.tilt == on {
		return
	}
	l.tilt = on
	l.out.add(note{level: slog.LevelWarn, complaint: true, text: "sentinel tilt changed", attrs: []slog.Attr{
		slog.String("sentinel", l.sentinel.Address.String()), slog.Bool("tilt", on)}})
	l.out.add(tilted{link: l.id, on: on})
}

// onReply gives a reply to the request that waits longest. One that nobody
// waits for means that the stream is out of step.
func (l *link) onReply(now time.Time, ln *lane, v respconn.Value) {
	if len(ln.pending) == 0 {
		if v.IsError() && len(l.unconfirmed) > 0 {
			l.fail(now, newRefusal("PSUBSCRIBE", v))
			return
		}
		l.fail(now, fmt.Errorf("a reply that nobody asked for (%v)", v.Kind))
		return
	}
	r := ln.pending[0]
	ln.pending = ln.pending[1:]
	switch r.kind {
	case reqAuth:
		if v.IsError() && !noPassword(v) {
			l.fail(now, newRefusal("AUTH", v))
		}
	case reqHello:
		l.onHello(now, v)
	case reqPing:
		l.onPong(now, r, v)
	case reqInfo:
		l.onInfo(v)
	case reqAddress:
		l.onAddress(now, r, v)
	case reqMaster:
		l.onMaster(now, r, v)
	}
}

// onHello subscribes, with RESP3 or without.
func (l *link) onHello(now time.Time, v respconn.Value) {
	if v.IsError() {
		refused := newRefusal("HELLO", v)
		if c := refused.code(); c == "NOAUTH" || c == "WRONGPASS" || strings.Contains(v.Str, "max number of clients") {
			l.fail(now, refused)
			return
		}
	} else {
		fields, err := parseHello(v)
		if err != nil {
			l.fail(now, err)
			return
		}
		if mode, told := fields["mode"]; told && mode != "sentinel" {
			l.fail(now, fmt.Errorf("it is not a sentinel: HELLO says mode %q", clip(printable(mode))))
			return
		}
		l.resp3 = fields["proto"] == "3"
	}
	l.subscribe()
}

// parseHello reads the fields of HELLO that are text or a number.
func parseHello(v respconn.Value) (map[string]string, error) {
	if v.Kind != respconn.Array && v.Kind != respconn.Map || len(v.Elems)%2 != 0 {
		return nil, fmt.Errorf("HELLO: want fields and values, got %v", v.Kind)
	}
	fields := make(map[string]string)
	for i := 0; i < len(v.Elems); i += 2 {
		name, _ := v.Elems[i].Text()
		if text, ok := v.Elems[i+1].Text(); ok {
			fields[name] = text
		}
	}
	return fields, nil
}

// onPong takes +PONG, or `pong ""` on a subscribed wire of RESP2.
func (l *link) onPong(now time.Time, r request, v respconn.Value) {
	word, _ := bulk(v)
	if v.Kind == respconn.Array && len(v.Elems) == 2 {
		word, _ = bulk(v.Elems[0])
	}
	if v.IsError() || !strings.EqualFold(word, "pong") {
		if v.IsError() {
			l.fail(now, newRefusal("PING", v))
			return
		}
		l.fail(now, fmt.Errorf("PING was answered by %v", v.Kind))
		return
	}
	l.lastPong, l.rtt = now, now.Sub(r.sent)
}

func (l *link) onAddress(now time.Time, r request, v respconn.Value) {
	if v.IsError() {
		l.fail(now, newRefusal(r.String(), v))
		return
	}
	a, known, err := parseTold(v)
	if err != nil {
		l.fail(now, fmt.Errorf("%v: %w", r, err))
		return
	}
	l.partial[r.group] = answer{Group: r.group, Master: a, Unknown: !known, Asked: r.sent}
}

// onMaster completes an answer. Without the right to SENTINEL MASTER the
// address alone counts, as of epoch 0.
func (l *link) onMaster(now time.Time, r request, v respconn.Value) {
	w := l.partial[r.group]
	delete(l.partial, r.group)
	delete(l.inFlight, r.group)
	switch {
	case v.IsError() && strings.HasPrefix(v.Str, "ERR No such master"):
		w.Unknown = true
	case v.IsError():
		if c := v.Code(); c == "NOAUTH" || c == "WRONGPASS" {
			l.fail(now, newRefusal(r.String(), v))
			return
		}
	default:
		info, err := parseMasterInfo(v, r.group)
		if err != nil {
			l.fail(now, fmt.Errorf("%v: %w", r, err))
			return
		}
		w.Info, w.HasInfo = info, true
		w.Torn = !w.Unknown && (w.Master == info.Address) == info.promoted()
	}
	delete(l.unanswered, r.group)
	again := l.again[r.group]
	delete(l.again, r.group)
	if l.wanted[r.group] {
		l.out.add(answered{link: l.id, answer: w})
		if again {
			l.query(now, r.group)
		}
	}
	l.resolved(now)
}
