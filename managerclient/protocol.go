package managerclient

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"

	"respgate/internal/respconn"
)

// The fields of an answer that are not settings.
const (
	fieldVersion   = "version"
	fieldGroups    = "groups"
	fieldSentinels = "sentinels"
	fieldWeights   = "weights"
)

func reserved(name string) bool {
	switch name {
	case fieldVersion, fieldGroups, fieldSentinels, fieldWeights:
		return true
	}
	return false
}

// maxVersion: a version has to fit RESP's integer.
const maxVersion = math.MaxInt64

// answerLimits let a topology of the greatest size through, and not much more.
var answerLimits = respconn.Limits{Reply: 256 << 10, Elements: 4096, Depth: 4}

// answer is the reply to a heartbeat as it was told, before it is compared with what the client has. A part that was not told is nil.
type answer struct {
	version   uint64
	groups    []Group
	sentinels []string
	settings  map[string]string
}

// refusalKind says why an answer was not taken. Alarms are held apart by it.
type refusalKind uint8

const (
	refusedMalformed    refusalKind = iota // not the shape of an answer, or garbage instead of RESP
	refusedInvalid                         // the right shape, with content that breaks a rule
	refusedLower                           // a version below the one the client has
	refusedOtherContent                    // the same version with other content
	refusedByManager                       // an error reply: the manager does not want
)

func (k refusalKind) String() string {
	switch k {
	case refusedMalformed:
		return "malformed answer"
	case refusedInvalid:
		return "invalid answer"
	case refusedLower:
		return "lower version"
	case refusedOtherContent:
		return "same version with other content"
	case refusedByManager:
		return "error reply"
	}
	return "unknown refusal"
}

// refusal is why an answer was not taken. Its text holds only what was checked to be printable and short.
type refusal struct {
	kind refusalKind
	text string
}

func (r *refusal) Error() string { return r.kind.String() + ": " + r.text }

func malformed(format string, args ...any) error {
	return &refusal{kind: refusedMalformed, text: fmt.Sprintf(format, args...)}
}

// parseAnswer takes a reply of any shape; its error is always a *refusal.
func parseAnswer(v respconn.Value) (answer, error) {
	if v.IsError() {
		return answer{}, &refusal{kind: refusedByManager, text: printable(v.Str)}
	}
	if (v.Kind != respconn.Array && v.Kind != respconn.Map) || v.Null {
		return answer{}, malformed("a %s instead of an array", v.Kind)
	}
	if len(v.Elems)%2 != 0 {
		return answer{}, malformed("an odd number of elements")
	}
	var a answer
	var weights map[string]int
	seen := make(map[string]bool, len(v.Elems)/2)
	for i := 0; i < len(v.Elems); i += 2 {
		name, ok := v.Elems[i].Text()
		if !ok || !validName(name) {
			return answer{}, malformed("field %d has no valid name", i/2+1)
		}
		if seen[name] {
			return answer{}, malformed("field '%s' is there twice", name)
		}
		seen[name] = true
		if err := a.take(name, v.Elems[i+1], &weights); err != nil {
			return answer{}, err
		}
	}
	if a.version == 0 {
		return answer{}, malformed("no version")
	}
	return a, a.weigh(weights)
}

// take puts one field into the answer.
func (a *answer) take(name string, v respconn.Value, weights *map[string]int) (err error) {
	switch name {
	case fieldVersion:
		text, _ := v.Text()
		if a.version, err = strconv.ParseUint(text, 10, 63); err != nil || a.version == 0 || strconv.FormatUint(a.version, 10) != text {
			return malformed("the version is not a positive integer")
		}
	case fieldGroups:
		a.groups, err = parseGroups(v)
	case fieldSentinels:
		a.sentinels, err = parseSentinels(v)
	case fieldWeights:
		*weights, err = parseWeights(v)
	default:
		text, ok := v.Text()
		if !ok {
			return malformed("setting '%s' is not a string", name)
		}
		if a.settings == nil {
			a.settings = make(map[string]string)
		}
		a.settings[name] = text
	}
	return err
}

// weigh gives the groups their weights; each has to be of a group that is there.
func (a *answer) weigh(weights map[string]int) error {
	found := 0
	for i := range a.groups {
		if w, ok := weights[a.groups[i].Name]; ok {
			a.groups[i].Weight = w
			found++
		}
	}
	if found < len(weights) {
		return &refusal{kind: refusedInvalid, text: "a weight of a group that is not there"}
	}
	return nil
}

func parseGroups(v respconn.Value) ([]Group, error) {
	if v.Kind != respconn.Array || v.Null {
		return nil, malformed("groups are no array")
	}
	groups := make([]Group, len(v.Elems))
	for i, e := range v.Elems {
		name, ok := e.Text()
		if !ok {
			return nil, malformed("group %d is not a string", i+1)
		}
		groups[i] = Group{Name: name, Weight: 1}
	}
	return groups, nil
}

func parseSentinels(v respconn.Value) ([]string, error) {
	if v.Kind != respconn.Array || v.Null {
		return nil, malformed("sentinels are no array")
	}
	sentinels := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		if e.Kind != respconn.Array || len(e.Elems) != 2 {
			return nil, malformed("sentinel %d is not an array of host and port", i+1)
		}
		host, hostOK := e.Elems[0].Text()
		port, portOK := e.Elems[1].Text()
		if !hostOK || !portOK {
			return nil, malformed("sentinel %d is not an array of host and port", i+1)
		}
		if strings.ContainsAny(host, "[]") { // JoinHostPort would make another host of it
			return nil, &refusal{kind: refusedInvalid, text: fmt.Sprintf("sentinel %d has an invalid host or port", i+1)}
		}
		sentinels[i] = net.JoinHostPort(host, port)
	}
	return sentinels, nil
}

// parseWeights reads a flat array of name and weight.
func parseWeights(v respconn.Value) (map[string]int, error) {
	if v.Kind != respconn.Array || v.Null || len(v.Elems)%2 != 0 {
		return nil, malformed("weights are no array of name and weight")
	}
	weights := make(map[string]int, len(v.Elems)/2)
	for i := 0; i < len(v.Elems); i += 2 {
		name, nameOK := v.Elems[i].Text()
		text, textOK := v.Elems[i+1].Text()
		n, err := strconv.ParseUint(text, 10, 31)
		if _, twice := weights[name]; !nameOK || !textOK || err != nil || twice {
			return nil, malformed("weight %d is no name and weight, or there twice", i/2+1)
		}
		weights[name] = int(n)
	}
	return weights, nil
}

// judge compares an answer with what the client has (nil: nothing). A topology that is not nil is new and valid; an error is a *refusal.
func (a answer) judge(have *Topology, manager string) (*Topology, error) {
	if have != nil && a.version < have.Version {
		return nil, &refusal{kind: refusedLower, text: fmt.Sprintf("%d, this proxy has %d", a.version, have.Version)}
	}
	if have != nil && a.version == have.Version {
		return nil, a.agrees(*have)
	}
	if a.groups == nil || a.sentinels == nil {
		return nil, malformed("version %d is new and comes without groups or sentinels", a.version)
	}
	t := &Topology{Version: a.version, Groups: a.groups, Sentinels: a.sentinels, Settings: a.settings, Manager: manager}
	if err := t.validate(); err != nil {
		return nil, &refusal{kind: refusedInvalid, text: err.Error()}
	}
	return t, nil
}

// agrees refuses an answer of the same version that tells a part, and another one than the client has.
func (a answer) agrees(have Topology) error {
	told := Topology{Groups: have.Groups, Sentinels: have.Sentinels, Settings: have.Settings}
	if a.groups != nil {
		told.Groups = a.groups
	}
	if a.sentinels != nil {
		told.Sentinels = a.sentinels
	}
	if a.settings != nil {
		told.Settings = a.settings
	}
	if !told.SameContent(have) {
		return &refusal{kind: refusedOtherContent, text: fmt.Sprintf("version %d", a.version)}
	}
	return nil
}

// heartbeat is the request of the protocol. fields are the extra ones, name and value.
func heartbeat(cluster string, have uint64, proxyID string, applied uint64, fields ...string) []string {
	args := []string{"MANAGER", "HEARTBEAT", cluster, strconv.FormatUint(have, 10), proxyID, "applied", strconv.FormatUint(applied, 10)}
	return append(args, fields...)
}

// printable makes a text of a stranger fit for a log line and the console: one line, short, ASCII.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
