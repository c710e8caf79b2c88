package engine

import (
	"bytes"
	"strings"
	"testing"

	"respgate/engine/topology"
)

// steadyCase is something that clients do all day.
type steadyCase struct {
	name    string
	request string
	reply   string
	value   int  // bytes of a value
	resp3   bool // after HELLO 3
}

func steadyCases(d *driven) []steadyCase {
	k := d.keys(10)
	v := bulk(string(d.value))
	large := strings.Repeat("x", 16<<10)
	return []steadyCase{
		{name: "GET", request: req("GET", k[0]), reply: v},
		{name: "SET", request: req("SET", k[1], "value"), reply: "+OK\r\n"},
		{name: "PING", request: req("PING"), reply: "+PONG\r\n"},
		{name: "MGET over groups", request: req(append([]string{"MGET"}, k...)...), reply: array(v, v, v, v, v, v, v, v, v, v)},
		{name: "MGET of 300 keys", request: mgetOf(300)(d.keys(300), ""), reply: arrays(300)(string(d.value))},
		{name: "MGET of 16 KiB values", request: req("MGET", k[0], k[1], k[2]), reply: array(bulk(large), bulk(large), bulk(large)), value: len(large)},
		{name: "MGETs in a pipeline", request: strings.Repeat(req("MGET", k[0], k[1]), 50), reply: strings.Repeat(array(v, v), 50)},
		{name: "MSET over groups", request: req("MSET", k[0], "1", k[1], "2", k[2], "3"), reply: "+OK\r\n"},
		{name: "DEL over groups", request: req("DEL", k[0], k[1], k[2]), reply: ":3\r\n"},
		{name: "GET, pipeline of 16", request: strings.Repeat(req("GET", k[0])+req("GET", k[1]), 8), reply: strings.Repeat(v, 16)},
		{name: "mixed pipeline", request: strings.Repeat(req("GET", k[0])+req("PING")+req("SET", k[1], "x")+req("MGET", k[0], k[1]), 25), reply: strings.Repeat(v+"+PONG\r\n+OK\r\n"+array(v, v), 25)},
		{name: "GET in RESP3", request: req("GET", k[0]), reply: v, resp3: true},
		{name: "MGET in RESP3", request: req("MGET", k[0], k[1]), reply: array(v, v), resp3: true},
		{name: "GET of 16 KiB", request: req("GET", k[0]), reply: bulk(large), value: len(large)},
		{name: "GET of 16 KiB, pipeline of 16", request: strings.Repeat(req("GET", k[0])+req("GET", k[1]), 8), reply: strings.Repeat(bulk(large), 16), value: len(large)},
		{name: "SET of 16 KiB", request: req("SET", k[0], large), reply: "+OK\r\n"},
		{name: "keys of one group", request: req("SINTERSTORE", "{a}1", "{a}2", "{a}3"), reply: "+OK\r\n"},
	}
}

// TestSteadyStateAllocatesNothing holds rule 3 of the data plane: no allocation per request once buffers have grown.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	d := newDriven(t, 2, func(s *topology.Settings) { s.HoldRequests = 10000 })
	d.l.wheel.Stop(&d.l.trimTimer) // what it lets go every two seconds is allocated anew: often, on a slow machine
	for _, tc := range steadyCases(d) {
		fd := d.client()
		d.value = []byte("0123456789abcdef")
		if tc.value > 0 {
			d.value = bytes.Repeat([]byte("x"), tc.value)
		}
		if tc.resp3 {
			d.round(fd, []byte(req("HELLO", "3")), 100)
		}
		request := []byte(tc.request)
		for range 200 {
			got := d.round(fd, request, len(tc.reply))
			if len(tc.reply) < len(d.in)/2 && string(got) != tc.reply {
				t.Fatalf("%s: reply %q, want %q", tc.name, clip(string(got), 300), clip(tc.reply, 300))
			}
		}
		if n := testing.AllocsPerRun(200, func() { d.round(fd, request, len(tc.reply)) }); n != 0 {
			t.Errorf("%s: %v allocations", tc.name, n)
		}
	}
}
