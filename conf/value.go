package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"respgate/engine/shard"
)

// valueType reads one kind of value. Its result has exactly the type of the field of Config that it is for.
type valueType struct {
	name   string // for the reference
	read   func(r *reader, path string, n *yaml.Node) (any, bool)
	show   func(any) string   // for Diff; nil: fmt.Sprint
	items  func(any) []string // of a list
	secret bool               // never quoted
}

// scalar makes the type of a value that is one word. tags are the YAML types that it may be written as; what names it in errors.
func scalar[T any](name string, tags []string, what error, parse func(string) (T, error)) valueType {
	return valueType{name: name, read: func(r *reader, path string, n *yaml.Node) (any, bool) {
		switch {
		case isNull(n):
			r.failf(n, path, "has no value")
			return nil, false
		case n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0:
			r.failf(n, path, `%v; text with { or } needs quotes: "{}"`, what)
			return nil, false
		case n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()):
			r.failf(n, path, "%v", what)
			return nil, false
		}
		v, err := parse(n.Value)
		if err != nil {
			r.failf(n, path, "%v", err)
			return nil, false
		}
		return v, true
	}}
}

var (
	// A password or a name may look like a number; twemproxy takes every plain word as text.
	textTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}
	intTags  = []string{"!!int"}
	unitTags = []string{"!!int", "!!float", "!!str"}
	boolTags = []string{"!!bool"}
)

// text is any text that check accepts; check may be nil.
func text(name string, check func(string) error) valueType {
	return parsed(name, func(s string) (string, error) {
		if err := checkText(s); err != nil {
			return "", err
		}
		if check != nil {
			return s, check(s)
		}
		return s, nil
	})
}

// parsed is text that parse turns into something else.
func parsed[T any](name string, parse func(string) (T, error)) valueType {
	return scalar(name, textTags, errors.New("must be text"), parse)
}

// orNone accepts the empty text too, which stands for nothing.
func orNone(parse func(string) (string, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	}
}

const maxText = 1024

func checkText(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("is longer than %d bytes", maxText)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return errors.New("must not have control characters")
	}
	return nil
}

// integer is a whole number from low to high.
func integer(low, high int) valueType {
	what := fmt.Errorf("must be a whole number from %d to %d", low, high)
	return scalar(fmt.Sprintf("%d to %d", low, high), intTags, what, func(s string) (int, error) {
		n, ok := decimal(s)
		if !ok || n < int64(low) || n > int64(high) {
			return 0, what
		}
		return int(n), nil
	})
}

// boolean is true or false, and none of the other words that YAML 1.1 had for them.
func boolean() valueType {
	what := errors.New("must be true or false")
	return scalar("true or false", boolTags, what, func(s string) (bool, error) {
		if s != "true" && s != "false" {
			return false, what
		}
		return s == "true", nil
	})
}

// duration is from low to maxDuration.
func duration(low time.Duration) valueType {
	t := scalar("duration", unitTags, errDuration, func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		if err != nil {
			return 0, err
		}
		return d, checkDuration(d, low)
	})
	t.show = func(v any) string { return showDuration(v.(time.Duration)) }
	return t
}

// microseconds is a duration from 0 to most that may be finer than a millisecond.
func microseconds(most time.Duration) valueType {
	what := errors.New(`must be a duration like "150us", with its unit, or 0`)
	t := scalar("duration", unitTags, what, func(s string) (time.Duration, error) {
		d, err := parseFine(s)
		switch {
		case err == errDuration:
			return 0, what
		case err != nil:
			return 0, err
		case d < 0:
			return 0, errors.New("must not be negative")
		case d > most:
			return 0, fmt.Errorf("must be at most %s", showDuration(most))
		}
		return d, nil
	})
	t.show = func(v any) string { return showDuration(v.(time.Duration)) }
	return t
}

func checkDuration(d, low time.Duration) error {
	switch {
	case d < 0:
		return errors.New("must not be negative")
	case d < low:
		return fmt.Errorf("must be at least %s", showDuration(low))
	case d > maxDuration:
		return fmt.Errorf("must be at most %s", showDuration(maxDuration))
	}
	return nil
}

// timeoutOrNone is a duration where 0, and twemproxy's -1, stand for none.
func timeoutOrNone() valueType {
	t := scalar("duration; 0 or less is none", unitTags, errDuration, func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		if err != nil || d <= 0 {
			return 0, err
		}
		return d, checkDuration(d, 0)
	})
	t.show = func(v any) string { return showDuration(v.(time.Duration)) }
	return t
}

// durationOrAuto is a duration from low, or auto, which is read as the value given.
func durationOrAuto(auto, low time.Duration) valueType {
	what := errors.New(`must be auto, a duration like "500ms" or "3s", or a whole number of milliseconds`)
	t := scalar("auto or duration", unitTags, what, func(s string) (time.Duration, error) {
		if s == "auto" {
			return auto, nil
		}
		d, err := parseDuration(s)
		if errors.Is(err, errDuration) {
			return 0, what
		}
		if err != nil {
			return 0, err
		}
		return d, checkDuration(d, low)
	})
	t.show = func(v any) string {
		if v == auto {
			return "auto"
		}
		return showDuration(v.(time.Duration))
	}
	return t
}

// size is a number of bytes from low to high.
func size(low, high Bytes) valueType {
	return scalar(fmt.Sprintf("size, %v to %v", low, high), unitTags, errBytes, func(s string) (Bytes, error) {
		b, err := parseBytes(s)
		if err != nil {
			return 0, err
		}
		if b < low || b > high {
			return 0, fmt.Errorf("must be from %v to %v", low, high)
		}
		return b, nil
	})
}

// choice is one of a few words, read by parse.
func choice[T any](words []string, parse func(string) (T, error)) valueType {
	list := strings.Join(words, ", ")
	return scalar(list, textTags, fmt.Errorf("must be one of %s", list), func(s string) (T, error) {
		v, err := parse(s)
		if err == nil && slices.Contains(words, s) {
			return v, nil
		}
		if near := suggest(s, words); near != "" {
			return v, fmt.Errorf("must be one of %s; did you mean %s?", list, near)
		}
		return v, fmt.Errorf("must be one of %s", list)
	})
}

func word(words ...string) valueType {
	return choice(words, func(s string) (string, error) { return s, nil })
}

func hashName() valueType { return choice(shard.Hashes(), shard.ParseHash) }

func distributionName() valueType { return choice(shard.Distributions(), shard.ParseDistribution) }

func authorityPolicy() valueType {
	return choice(authorityPolicies, func(s string) (AuthorityPolicy, error) {
		return AuthorityPolicy(max(0, slices.Index(authorityPolicies, s))), nil
	})
}

func followMode() valueType {
	t := choice([]string{"announced", "early"}, func(s string) (bool, error) { return s == "early", nil })
	t.show = func(v any) string {
		if v.(bool) {
			return "early"
		}
		return "announced"
	}
	return t
}

func logLevel() valueType {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	t := choice([]string{"debug", "info", "warn", "error"}, func(s string) (slog.Level, error) { return levels[s], nil })
	t.show = func(v any) string { return strings.ToLower(v.(slog.Level).String()) }
	return t
}

// secret is a password, as text or as {file: /path}. Nothing that it reports quotes the value.
func secret() valueType {
	plain := scalar("secret", textTags, errors.New(`must be text or {file: /path}`), func(s string) (Secret, error) {
		if len(s) > maxSecret || strings.ContainsAny(s, "\r\n\x00") {
			return "", fmt.Errorf("must be one line of at most %d bytes", maxSecret)
		}
		return Secret(s), nil
	})
	t := plain
	t.secret = true
	t.read = func(r *reader, path string, n *yaml.Node) (any, bool) {
		if n.Kind != yaml.MappingNode {
			return plain.read(r, path, n)
		}
		if len(n.Content) != 2 || n.Content[0].Value != "file" {
			r.failf(n, path, `must be text or {file: /path}; a password with { or , needs quotes`)
			return nil, false
		}
		name, ok := text("", nil).read(r, path+".file", target(n.Content[1]))
		if !ok {
			return nil, false
		}
		s, err := readSecret(name.(string))
		if err != nil {
			r.failf(n.Content[1], path+".file", "%v", err)
			return nil, false
		}
		return s, true
	}
	return t
}

// list is a list of 1 to most items.
func list[T any](name string, most int, item valueType) valueType {
	return valueType{name: name, read: func(r *reader, path string, n *yaml.Node) (any, bool) {
		switch {
		case n.Kind != yaml.SequenceNode:
			r.failf(n, path, "must be a list")
			return nil, false
		case len(n.Content) == 0:
			r.failf(n, path, "must have at least one item")
			return nil, false
		case len(n.Content) > most:
			r.failf(n, path, "must have at most %d items, not %d", most, len(n.Content))
			return nil, false
		}
		out, ok := make([]T, 0, len(n.Content)), true
		for i, c := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			c = target(c)
			if !r.spend(c, at) {
				return nil, false
			}
			r.at[at] = c
			v, good := item.read(r, at, c)
			if ok = ok && good; ok {
				out = append(out, v.(T))
			}
		}
		return out, ok
	}, show: func(v any) string {
		return "[" + strings.Join(itemsOf[T](v), ", ") + "]"
	}, items: itemsOf[T]}
}

func itemsOf[T any](v any) []string {
	items := v.([]T)
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = fmt.Sprint(item)
	}
	return out
}

// group is "name" or {name: g, weight: 2}.
func group() valueType {
	name := text("", checkName)
	return valueType{read: func(r *reader, path string, n *yaml.Node) (any, bool) {
		if n.Kind == yaml.SequenceNode {
			r.failf(n, path, "must be a name or {name: g, weight: 2}")
			return Group{}, false
		}
		if n.Kind != yaml.MappingNode {
			v, ok := name.read(r, path, n)
			if !ok {
				return Group{}, false
			}
			return Group{Name: v.(string), Weight: 1}, true
		}
		m, ok := groupItem.read(r, path, n)
		g := Group{Weight: 1}
		if !ok || decodeExact(m, &g) != nil {
			return g, false
		}
		return g, true
	}}
}
