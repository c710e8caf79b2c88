package importer

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"respgate/conf"
)

// place is a position in the original file, from 1; the zero place is none.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// source is one pool as the file has it.
type source struct {
	name   string
	at     place
	values map[string]value
}

// value is a directive: a scalar, or the items of a list.
type value struct {
	at    place
	text  string
	items []value
	list  bool
}

// The directives of both, of twemproxy alone and of twemproxy-163 alone.
var (
	sharedKeys = []string{
		"listen", "hash", "hash_tag", "distribution", "timeout", "backlog", "client_connections", "tcpkeepalive",
		"redis_auth", "redis_db", "server_connections",
	}
	twemproxyKeys = []string{
		"redis", "reuseport", "preconnect", "auto_eject_hosts", "server_retry_timeout", "server_failure_limit", "servers",
	}
	groupKeys = []string{"groups", "sentinels", "sentinel_heartbeat"}
	listKeys  = []string{"servers", "groups", "sentinels"}
)

// parse returns the pools of the file. What it cannot use it reports, and leaves out.
func (im *run) parse(in []byte) []source {
	top := im.document(in)
	if top == nil {
		return nil
	}
	var pools []source
	im.entries("", top, func(name string, key, n *yaml.Node) {
		if p, ok := im.pool(name, key, n); ok {
			pools = append(pools, p)
		}
	})
	if len(pools) == 0 && len(im.errs) == 0 {
		im.fail(placeOf(top), "", "has no pools")
	}
	return pools
}

func (im *run) document(in []byte) *yaml.Node {
	if len(in) > conf.MaxFileSize {
		im.fail(place{}, "", "the file is larger than %d bytes", conf.MaxFileSize)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(in))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if err == nil && len(doc.Content) > 0 {
		if err = decoder.Decode(&second); err == nil {
			im.fail(placeOf(&second), "", "the file must be one YAML document")
			return nil
		}
	} else if err == nil {
		err = io.EOF
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		im.failSyntax(in, err)
		return nil
	case len(doc.Content) == 0:
		im.fail(place{}, "", "the file is empty")
		return nil
	}
	return doc.Content[0]
}

var (
	syntaxError   = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`(?s)^unknown anchor '(.*)' referenced$`)
)

// failSyntax passes on what the parser says, unless that quotes the file: an unknown alias may be a password with a
// star and no quotes.
func (im *run) failSyntax(in []byte, err error) {
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		im.fail(place{}, "", "is not valid YAML")
		return
	}
	at := place{line: 1} // the parser does not tell the first line
	if anchor := unknownAnchor.FindStringSubmatch(m[2]); anchor != nil {
		if before, _, ok := bytes.Cut(in, []byte("*"+anchor[1])); ok {
			at.line += bytes.Count(before, []byte("\n"))
		}
		im.fail(at, "", "is not valid YAML: unknown alias; a value that begins with * needs quotes")
		return
	}
	if n, err := strconv.Atoi(m[1]); err == nil {
		at.line = n
	}
	im.fail(at, "", "is not valid YAML: %s", m[2])
}

// entries calls each for the entries of a mapping, once for each key.
func (im *run) entries(path string, n *yaml.Node, each func(name string, key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		im.fail(placeOf(n), path, `must have the form "key: value"`)
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		name, ok := im.scalar(path, key)
		if !ok {
			continue
		}
		if first := seen[name]; first > 0 {
			im.fail(placeOf(key), join(path, show(name)), "is a duplicate of line %d", first)
			continue
		}
		seen[name] = key.Line
		each(name, key, val)
	}
}

func (im *run) pool(name string, key, n *yaml.Node) (source, bool) {
	p := source{name: name, at: placeOf(key), values: map[string]value{}}
	before := len(im.errs) + im.omitted
	im.entries(show(name), n, func(directive string, key, n *yaml.Node) {
		path := join(show(name), show(directive))
		switch {
		case slices.Contains(sharedKeys, directive), slices.Contains(twemproxyKeys, directive), slices.Contains(groupKeys, directive):
		default:
			im.fail(placeOf(key), path, "is a key of neither twemproxy nor twemproxy-163")
			return
		}
		v := value{at: placeOf(n), list: slices.Contains(listKeys, directive)}
		ok := true
		if v.list {
			v.items, ok = im.list(path, n)
		} else {
			v.text, ok = im.scalar(path, n)
		}
		if ok {
			p.values[directive] = v
		}
	})
	return p, len(im.errs)+im.omitted == before
}

func (im *run) list(path string, n *yaml.Node) ([]value, bool) {
	if n.Kind != yaml.SequenceNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		im.fail(placeOf(n), path, `must be a list, each item on a line of its own with a "-"`)
		return nil, false
	}
	if len(n.Content) == 0 {
		im.fail(placeOf(n), path, "is empty")
		return nil, false
	}
	items, ok := make([]value, 0, len(n.Content)), true
	for _, item := range n.Content {
		text, good := im.scalar(path, item)
		items, ok = append(items, value{at: placeOf(item), text: text}), ok && good
	}
	return items, ok
}

// scalar returns the characters of a scalar as they stand there: twemproxy knows no YAML types. It refuses anchors, aliases and
// tags, as twemproxy does.
func (im *run) scalar(path string, n *yaml.Node) (string, bool) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0:
		im.fail(placeOf(n), path, "has an anchor, alias or tag, which twemproxy does not take")
	case n.Kind != yaml.ScalarNode:
		im.fail(placeOf(n), path, "must be a single value; one with a brace or bracket needs quotes")
	case n.Value == "":
		im.fail(placeOf(n), path, "has no value")
	default:
		return n.Value, true
	}
	return "", false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// show returns a key for a message as far as it looks like one: without quotes part of a password may pass for a key.
func show(name string) string {
	const most = 64
	name = name[:min(len(name), most)]
	end := strings.IndexFunc(name, func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		return !letter && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
	})
	if end >= 0 {
		return name[:end]
	}
	return name
}
