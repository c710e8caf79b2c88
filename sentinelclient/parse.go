package sentinelclient

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// patterns are what every sentinel is subscribed to: all of its events (redis
// src/sentinel.c, its sentinelEvent calls). Whatever names a group means "ask
// again"; a list of names would leave out what the next version adds.
var patterns = []string{"+*", "-*"}

// event is one Pub/Sub message of a sentinel.
type event struct {
	name   string  // the channel, such as +switch-master
	group  string  // empty if it names none
	master Address // of the group, as the sentinel had it before the event
	next   Address // +switch-master only
	node   Address // the replica that a failover has chosen, zero if the event names none
}

var errEvent = errors.New("event payload makes no sense")

// parseEvent reads the payload of a message on one of patterns:
//
//	+switch-master  <group> <old ip> <old port> <new ip> <new port>
//	+tilt, -tilt    anything; so it is with the others of nameless
//	all others      master <group> <ip> <port> [...]
//	                <type> <name> <ip> <port> @ <group> <ip> <port> [...]
func parseEvent(channel, payload string) (event, error) {
	e := event{name: channel}
	if nameless(channel) {
		return e, nil
	}
	f := strings.Split(payload, " ")
	var err error
	if channel == "+switch-master" {
		if len(f) != 5 || !validName(f[0]) {
			return event{}, errEvent
		}
		e.group = f[0]
		if e.master, err = newAddress(f[1], f[2]); err != nil {
			return event{}, errEvent
		}
		if e.next, err = newAddress(f[3], f[4]); err != nil {
			return event{}, errEvent
		}
		return e, nil
	}
	if len(f) < 4 {
		return event{}, errEvent
	}
	if f[0] != "master" {
		if len(f) < 8 || f[4] != "@" {
			return event{}, errEvent
		}
		if f[0] == "slave" && e.startsFailover() {
			e.node, _ = newAddress(f[2], f[3]) // zero is a sign as well
		}
		f = f[4:]
	}
	if !validName(f[1]) {
		return event{}, errEvent
	}
	e.group = f[1]
	if e.master, err = newAddress(f[2], f[3]); err != nil {
		return event{}, errEvent
	}
	return e, nil
}

// nameless: the event names no group.
func nameless(channel string) bool {
	switch channel {
	case "+tilt", "-tilt", "+new-epoch", "+vote-for-leader", "-script-error", "-script-timeout":
		return true
	}
	return false
}

// validName is what Sentinel itself accepts as the name of a master, less the
// control characters that it does not look for.
func validName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// startsFailover: a failover of the group has a leader, and its master is about
// to be replaced. +try-failover is not among them: there may be no leader yet.
func (e event) startsFailover() bool {
	switch e.name {
	case "+elected-leader", "+selected-slave", "+promoted-slave",
		"+failover-state-select-slave", "+failover-state-send-slaveof-noone",
		"+failover-state-wait-promotion", "+failover-state-reconf-slaves":
		return true
	}
	return false
}

func (e event) abortsFailover() bool { return strings.HasPrefix(e.name, "-failover-abort-") }

// parseTold reads the reply of SENTINEL GET-MASTER-ADDR-BY-NAME. known is false
// if the sentinel has no master of that name.
func parseTold(v respconn.Value) (a Address, known bool, err error) {
	if v.Null {
		return Address{}, false, nil
	}
	if v.Kind != respconn.Array || len(v.Elems) != 2 {
		return Address{}, false, fmt.Errorf("want host and port, got %s of %d", v.Kind, len(v.Elems))
	}
	host, ok1 := bulk(v.Elems[0])
	port, ok2 := bulk(v.Elems[1])
	if !ok1 || !ok2 {
		return Address{}, false, errors.New("host and port are not strings")
	}
	a, err = newAddress(host, port)
	return a, err == nil, err
}

func bulk(v respconn.Value) (string, bool) {
	return v.Str, !v.Null && (v.Kind == respconn.BulkString || v.Kind == respconn.SimpleString)
}

// masterInfo is what is used of SENTINEL MASTER's reply.
type masterInfo struct {
	Address       Address // on the leader of a failover still the old one
	Flags         []string
	Epoch         uint64 // config-epoch
	LastOKPing    time.Duration
	DownAfter     time.Duration
	Quorum        int
	Replicas      int // known, reachable or not
	Sentinels     int // known, this one included
	FailoverState string
}

func (m masterInfo) has(flag string) bool { return slices.Contains(m.Flags, flag) }

// promoted: this sentinel leads a failover and the replica it chose is master
// already, so that it tells the new address and still lists the old one.
func (m masterInfo) promoted() bool {
	return m.FailoverState == "reconf_slaves" || m.FailoverState == "update_config"
}

// promoting: this sentinel leads a failover and has not seen its replica become
// a master yet.
func (m masterInfo) promoting() bool {
	switch m.FailoverState {
	case "select_slave", "send_slaveof_noone", "wait_promotion":
		return true
	}
	return false
}

// parseMasterInfo reads the field/value list of SENTINEL MASTER and refuses it
// if it is about another group.
func parseMasterInfo(v respconn.Value, group string) (masterInfo, error) {
	fields, err := parseFields(v)
	if err != nil {
		return masterInfo{}, err
	}
	if fields["name"] != group {
		return masterInfo{}, errors.New("the reply is about another master")
	}
	var m masterInfo
	if m.Address, err = newAddress(fields["ip"], fields["port"]); err != nil {
		return masterInfo{}, err
	}
	m.Flags = strings.Split(fields["flags"], ",")
	m.FailoverState = clip(fields["failover-state"])
	if m.Epoch, err = strconv.ParseUint(fields["config-epoch"], 10, 64); err != nil {
		return masterInfo{}, errors.New("config-epoch is not a number")
	}
	for _, f := range []struct {
		name string
		dst  *time.Duration
	}{{"last-ok-ping-reply", &m.LastOKPing}, {"down-after-milliseconds", &m.DownAfter}} {
		n, err := strconv.ParseUint(fields[f.name], 10, 64)
		if err != nil {
			return masterInfo{}, fmt.Errorf("%s is not a number", f.name)
		}
		const most = uint64(1000 * time.Hour / time.Millisecond)
		*f.dst = time.Duration(min(n, most)) * time.Millisecond
	}
	for _, f := range []struct {
		name string
		dst  *int
		add  int
	}{{"quorum", &m.Quorum, 0}, {"num-slaves", &m.Replicas, 0}, {"num-other-sentinels", &m.Sentinels, 1}} {
		n, err := strconv.ParseUint(fields[f.name], 10, 20)
		if err != nil {
			return masterInfo{}, fmt.Errorf("%s is not a number", f.name)
		}
		*f.dst = int(n) + f.add
	}
	return m, nil
}

// parseFields reads a flat list (RESP2) or a map (RESP3) of names and texts.
func parseFields(v respconn.Value) (map[string]string, error) {
	if v.Kind != respconn.Array && v.Kind != respconn.Map || v.Null || len(v.Elems)%2 != 0 {
		return nil, fmt.Errorf("want fields and values, got %s of %d", v.Kind, len(v.Elems))
	}
	fields := make(map[string]string, len(v.Elems)/2)
	for i := 0; i < len(v.Elems); i += 2 {
		name, ok1 := bulk(v.Elems[i])
		value, ok2 := v.Elems[i+1].Text()
		if !ok1 || !ok2 {
			return nil, errors.New("a field or its value is no text")
		}
		fields[name] = value
	}
	return fields, nil
}

// infoFields reads the name:value lines of INFO.
func infoFields(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if ok && !strings.HasPrefix(name, "#") {
			fields[name] = value
		}
	}
	return fields
}

// replica is one replica as its master lists it.
type replica struct {
	Address Address
	Online  bool
	Lag     time.Duration // since its last acknowledgement, whole seconds
	Offset  int64         // of the stream that it has acknowledged
}

// role is what a node says of itself.
type role struct {
	Name     string  // master, slave or sentinel
	Of       Address // the master of a slave
	Link     string  // a slave's link to it: connected, sync, ...
	Replicas []replica
	Offset   int64 // the end of a master's replication stream, from INFO
}

// parseRole reads the reply of ROLE:
//
//	master   <offset> [[<ip> <port> <offset>] ...]
//	slave    <ip> <port> <state> <offset>
//	sentinel [<name> ...]
func parseRole(v respconn.Value) (role, error) {
	bad := func(why string) (role, error) { return role{}, fmt.Errorf("reply of ROLE: %s", why) }
	if v.Kind != respconn.Array || v.Null || len(v.Elems) < 2 {
		return bad("not an array")
	}
	name, ok := bulk(v.Elems[0])
	if !ok {
		return bad("no role in it")
	}
	r := role{Name: name}
	switch name {
	case "sentinel":
		return r, nil
	case "slave":
		if len(v.Elems) != 5 {
			return bad("not five elements")
		}
		host, _ := v.Elems[1].Text()
		port, _ := v.Elems[2].Text()
		r.Link, _ = v.Elems[3].Text()
		r.Link = clip(r.Link)
		r.Of, _ = newAddress(host, port) // a replica of nobody yet has none
		return r, nil
	case "master":
		if len(v.Elems) != 3 || v.Elems[2].Kind != respconn.Array || v.Elems[2].Null {
			return bad("no list of replicas")
		}
		for _, e := range v.Elems[2].Elems {
			if e.Kind != respconn.Array || len(e.Elems) != 3 {
				return bad("a replica is not host, port, offset")
			}
			host, ok1 := e.Elems[0].Text()
			port, ok2 := e.Elems[1].Text()
			a, err := newAddress(host, port)
			if !ok1 || !ok2 || err != nil {
				return bad("a replica without an address")
			}
			r.Replicas = append(r.Replicas, replica{Address: a})
		}
		return r, nil
	}
	return bad("unknown role " + strconv.Quote(clip(name)))
}

// parseReplication reads INFO replication. Of the replicas it tells what ROLE
// does not: whether they are online and when they last acknowledged.
func parseReplication(text string) (role, error) {
	fields := infoFields(text)
	r := role{Name: fields["role"]}
	switch r.Name {
	case "slave":
		r.Of, _ = newAddress(fields["master_host"], fields["master_port"])
		r.Link = clip(fields["master_link_status"])
	case "master":
		if n, err := strconv.ParseInt(fields["master_repl_offset"], 10, 64); err == nil {
			r.Offset = n
		}
		for i := range 1024 {
			line, ok := fields["slave"+strconv.Itoa(i)]
			if !ok {
				break
			}
			var p replica
			var host, port string
			p.Lag = time.Hour // unless it says better
			for pair := range strings.SplitSeq(line, ",") {
				name, value, _ := strings.Cut(pair, "=")
				switch name {
				case "ip":
					host = value
				case "port":
					port = value
				case "state":
					p.Online = value == "online"
				case "lag":
					if n, err := strconv.ParseUint(value, 10, 16); err == nil {
						p.Lag = time.Duration(n) * time.Second
					}
				case "offset":
					if n, err := strconv.ParseInt(value, 10, 64); err == nil {
						p.Offset = n
					}
				}
			}
			var err error
			if p.Address, err = newAddress(host, port); err != nil {
				return role{}, fmt.Errorf("INFO replication: replica %d: %w", i, err)
			}
			r.Replicas = append(r.Replicas, p)
		}
	default:
		return role{}, errors.New("INFO replication: no role in it")
	}
	return r, nil
}
