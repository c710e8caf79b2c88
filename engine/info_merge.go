package engine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// infoText is INFO of several servers as one: sections and fields in the order of the first, what only others have behind.
type infoText struct {
	sections []*infoBlock
	byName   map[string]*infoBlock
}

type infoBlock struct {
	name   string
	fields []*infoLine
	byName map[string]*infoLine
}

type infoLine struct {
	name   string
	values []string // of each server that has it
}

// infoRule says how the values of a field become one.
type infoRule uint8

const (
	infoFirst  infoRule = iota // the first server's
	infoSum                    //
	infoMin                    //
	infoMax                    //
	infoWorst                  // the first that is not "ok"
	infoOldest                 // the lowest version
	infoOmit                   // it is about one server
)

// infoRules are the rules of fields; of the others, those of their section, and of these, infoFirst. Percentages and ratios
// are the highest anywhere.
var infoRules = map[string]infoRule{
	"clients": infoSum, "memory": infoSum, "persistence": infoMax, "stats": infoSum, "cpu": infoSum,

	"redis_version": infoOldest, "valkey_version": infoOldest, "uptime_in_seconds": infoMin, "uptime_in_days": infoMin,

	"cluster_connections": infoFirst, "client_recent_max_input_buffer": infoMax, "client_recent_max_output_buffer": infoMax,

	"total_system_memory": infoMax, "number_of_cached_scripts": infoMax, "number_of_functions": infoMax, "number_of_libraries": infoMax,
	"active_defrag_running": infoMax,

	"rdb_changes_since_last_save": infoSum, "rdb_last_save_time": infoMin, "rdb_saves": infoSum, "aof_rewrites": infoSum,
	"rdb_last_load_keys_expired": infoSum, "rdb_last_load_keys_loaded": infoSum, "aof_rewrites_consecutive_failures": infoSum,
	"aof_base_size": infoSum, "aof_current_size": infoSum, "aof_pending_rewrite": infoMax, "aof_buffer_length": infoSum,
	"loading_total_bytes": infoSum, "loading_loaded_bytes": infoSum, "current_save_keys_processed": infoSum, "current_save_keys_total": infoSum,
	"current_cow_size": infoSum, "current_cow_peak": infoSum, "rdb_last_cow_size": infoSum, "aof_last_cow_size": infoSum,

	"latest_fork_usec": infoMax, "current_eviction_exceeded_time": infoMax, "current_active_defrag_time": infoMax,
	"pubsub_channels": infoMax, "pubsub_patterns": infoMax, "pubsubshard_channels": infoMax, // subscribers are subscribed to all

	"connected_slaves": infoSum,
}

// ruleOf is the rule of a field of a section.
func ruleOf(section, field string) infoRule {
	if rule, ok := infoRules[field]; ok {
		return rule
	}
	switch {
	case strings.HasSuffix(field, "_status"):
		return infoWorst
	case strings.HasSuffix(field, "_perc"), strings.HasSuffix(field, "_ratio"):
		return infoMax
	case section == "replication" && len(field) > len("slave") && strings.HasPrefix(field, "slave") && '0' <= field[len("slave")] && field[len("slave")] <= '9':
		return infoOmit
	}
	return infoRules[section]
}

// mergeInfo reads the servers' texts.
func mergeInfo(texts [][]byte) *infoText {
	m := &infoText{byName: map[string]*infoBlock{}}
	for _, text := range texts {
		var in *infoBlock
		for line := range bytes.Lines(text) {
			line = bytes.TrimRight(line, "\r\n")
			if title, ok := bytes.CutPrefix(line, []byte("# ")); ok {
				in = m.section(string(title))
				continue
			}
			name, value, ok := bytes.Cut(line, []byte(":"))
			if !ok {
				continue
			}
			if in == nil {
				in = m.section("Server")
			}
			key := string(name)
			if strings.EqualFold(in.name, "modules") {
				key = string(line) // all have the same name
			}
			f := in.field(key)
			f.name, f.values = string(name), append(f.values, string(value))
		}
	}
	for _, in := range m.sections {
		in.fold()
	}
	return m
}

func (m *infoText) section(name string) *infoBlock {
	key := strings.ToLower(name)
	in := m.byName[key]
	if in == nil {
		in = &infoBlock{name: name, byName: map[string]*infoLine{}}
		m.byName[key] = in
		m.sections = append(m.sections, in)
	}
	return in
}

func (in *infoBlock) field(key string) *infoLine {
	f := in.byName[key]
	if f == nil {
		f = &infoLine{}
		in.byName[key] = f
		in.fields = append(in.fields, f)
	}
	return f
}

// set changes a field, if it was asked for.
func (m *infoText) set(section, name, value string) {
	if in := m.byName[strings.ToLower(section)]; in != nil && in.byName[name] != nil {
		in.byName[name].values = []string{value}
	}
}

func (m *infoText) appendTo(b []byte) []byte {
	for i, in := range m.sections {
		if i > 0 {
			b = append(b, "\r\n"...)
		}
		b = fmt.Appendf(b, "# %s\r\n", in.name)
		for _, f := range in.fields {
			if len(f.values) > 0 {
				b = fmt.Appendf(b, "%s:%s\r\n", f.name, f.values[0])
			}
		}
	}
	return b
}

// fold makes one value of each field's.
func (in *infoBlock) fold() {
	section := strings.ToLower(in.name)
	for _, f := range in.fields {
		switch base, human := strings.CutSuffix(f.name, "_human"); {
		case human && in.byName[base] != nil: // which comes before it
			f.values = []string{humanBytes(in.byName[base].values[0])}
		case pairSections[section] && strings.Contains(f.values[0], "="):
			f.values = []string{mergePairs(section, f.values)}
		default:
			f.values = foldValues(ruleOf(section, f.name), f.values)
		}
	}
}

// foldValues makes one value of several, or none. Values that are no numbers where numbers are expected are the first server's.
func foldValues(rule infoRule, values []string) []string {
	chosen := values[0]
	switch rule {
	case infoOmit:
		return nil
	case infoFirst:
	case infoWorst:
		for _, v := range values {
			if v != "ok" {
				chosen = v
				break
			}
		}
	case infoOldest:
		for _, v := range values[1:] {
			if olderVersion(v, chosen) {
				chosen = v
			}
		}
	default:
		for _, v := range values[1:] {
			chosen = foldNumber(rule, chosen, v)
		}
	}
	return []string{chosen}
}

// foldNumber makes one number of two, whole if both are, else with as many digits behind the point as the first; what is no
// number counts for nothing.
func foldNumber(rule infoRule, a, b string) string {
	suffix := ""
	if strings.HasSuffix(a, "%") && strings.HasSuffix(b, "%") {
		a, b, suffix = a[:len(a)-1], b[:len(b)-1], "%"
	}
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		switch rule {
		case infoSum:
			x += y
		case infoMin:
			x = min(x, y)
		default:
			x = max(x, y)
		}
		return strconv.FormatInt(x, 10) + suffix
	}
	u, errU := strconv.ParseFloat(a, 64)
	v, errV := strconv.ParseFloat(b, 64)
	if errU != nil || errV != nil {
		return a + suffix
	}
	switch rule {
	case infoSum:
		u += v
	case infoMin:
		u = min(u, v)
	default:
		u = max(u, v)
	}
	_, digits, _ := strings.Cut(a, ".")
	return strconv.FormatFloat(u, 'f', len(digits), 64) + suffix
}

// pairSections have values of the form name=number,name=number.
var pairSections = map[string]bool{"commandstats": true, "errorstats": true, "latencystats": true, "keyspace": true}

// mergePairs makes one value of several of that form. Averages are weighted by what they are of.
func mergePairs(section string, values []string) string {
	var names []string
	sums := map[string]string{}
	weighted := map[string]float64{}
	for _, v := range values {
		pairs := parsePairs(v)
		for _, p := range pairs {
			if old, seen := sums[p[0]]; !seen {
				names = append(names, p[0])
				sums[p[0]] = p[1]
			} else if section == "latencystats" {
				sums[p[0]] = foldNumber(infoMax, old, p[1])
			} else {
				sums[p[0]] = foldNumber(infoSum, old, p[1])
			}
			if of := averages[p[0]]; of != "" {
				weighted[p[0]] += number(p[1]) * number(find(pairs, of))
			}
		}
	}
	for i, name := range names {
		value := sums[name]
		if of := averages[name]; of != "" {
			_, digits, _ := strings.Cut(value, ".")
			average := 0.0
			if n := number(sums[of]); n > 0 {
				average = weighted[name] / n
			}
			value = strconv.FormatFloat(average, 'f', len(digits), 64)
		}
		names[i] = name + "=" + value
	}
	return strings.Join(names, ",")
}

// averages of one thing, and the number of what they are of.
var averages = map[string]string{"avg_ttl": "expires", "usec_per_call": "calls"}

func parsePairs(s string) (pairs [][2]string) {
	for p := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(p, "=")
		pairs = append(pairs, [2]string{name, value})
	}
	return pairs
}

func find(pairs [][2]string, name string) string {
	for _, p := range pairs {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

// humanBytes writes a size as Redis does.
func humanBytes(s string) string {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return s
	}
	if n < 1024 {
		return s + "B"
	}
	size := float64(n)
	for _, unit := range "KMGTP" {
		if size /= 1024; size < 1024 {
			return strconv.FormatFloat(size, 'f', 2, 64) + string(unit)
		}
	}
	return strconv.FormatFloat(size/1024, 'f', 2, 64) + "E"
}
