package managerclient

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"respgate/internal/respconn"
)

func names(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"g%d"`, i))
	}
	return strings.Join(list, ",")
}

func sentinelsOf(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`["10.0.0.1", %d]`, i+1))
	}
	return strings.Join(list, ",")
}

const validRest = `"sentinels", [["10.0.0.1", 26379]]`

var refusals = []struct {
	in   string
	kind refusalKind
	text string
}{
	{`{"error": "ERR no such cluster 'c'\u0007"}`, refusedByManager, "ERR no such cluster 'c'?"},
	{`"OK"`, refusedMalformed, "a bulk string instead of an array"},
	{`7`, refusedMalformed, "a integer instead of an array"},
	{`null`, refusedMalformed, "a null instead of an array"},
	{`[]`, refusedMalformed, "no version"},
	{`["version"]`, refusedMalformed, "an odd number of elements"},
	{`["groups", ["g1"], ` + validRest + `]`, refusedMalformed, "no version"},
	{`["version", 0]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", -1]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", "07"]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", "+7"]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", "7.0"]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", "9223372036854775808"]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", [7]]`, refusedMalformed, "the version is not a positive integer"},
	{`["version", 7, "version", 7]`, refusedMalformed, "field 'version' is there twice"},
	{`["version", 7, "groups", ["g1"], "groups", ["g1"], ` + validRest + `]`, refusedMalformed, "field 'groups' is there twice"},
	{`[["version"], 7]`, refusedMalformed, "field 1 has no valid name"},
	{`["version", 7, "a b", "x"]`, refusedMalformed, "field 2 has no valid name"},
	{`["version", 7]`, refusedMalformed, "version 7 is new and comes without groups or sentinels"},
	{`["version", 7, "groups", ["g1"]]`, refusedMalformed, "version 7 is new and comes without groups or sentinels"},
	{`["version", 7, ` + validRest + `]`, refusedMalformed, "version 7 is new and comes without groups or sentinels"},
	{`["version", 7, "groups", "g1", ` + validRest + `]`, refusedMalformed, "groups are no array"},
	{`["version", 7, "groups", null, ` + validRest + `]`, refusedMalformed, "groups are no array"},
	{`["version", 7, "groups", [["g1"]], ` + validRest + `]`, refusedMalformed, "group 1 is not a string"},
	{`["version", 7, "groups", ["g1"], "sentinels", "x"]`, refusedMalformed, "sentinels are no array"},
	{`["version", 7, "groups", ["g1"], "sentinels", ["10.0.0.1", 26379]]`, refusedMalformed, "sentinel 1 is not an array of host and port"},
	{`["version", 7, "groups", ["g1"], "sentinels", [["10.0.0.1"]]]`, refusedMalformed, "sentinel 1 is not an array of host and port"},
	{`["version", 7, "groups", ["g1"], "sentinels", [["10.0.0.1", null]]]`, refusedMalformed, "sentinel 1 is not an array of host and port"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "weights", ["g1"]]`, refusedMalformed, "weights are no array of name and weight"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "weights", ["g1", "x"]]`, refusedMalformed, "weight 1 is no name and weight, or there twice"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "weights", ["g1", 1, "g1", 1]]`, refusedMalformed, "weight 2 is no name and weight, or there twice"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "x", ["y"]]`, refusedMalformed, "setting 'x' is not a string"},

	{`["version", 7, "groups", [], ` + validRest + `]`, refusedInvalid, "no groups"},
	{`["version", 7, "groups", ["g1"], "sentinels", []]`, refusedInvalid, "no sentinels"},
	{`["version", 7, "groups", ["g1", "g2", "g1"], ` + validRest + `]`, refusedInvalid, "group 'g1' is there twice"},
	{`["version", 7, "groups", [""], ` + validRest + `]`, refusedInvalid, "group 1 has an invalid name"},
	{`["version", 7, "groups", ["g1\r\n"], ` + validRest + `]`, refusedInvalid, "group 1 has an invalid name"},
	{`["version", 7, "groups", ["g1", "ü"], ` + validRest + `]`, refusedInvalid, "group 2 has an invalid name"},
	{`["version", 7, "groups", ["` + strings.Repeat("g", 65) + `"], ` + validRest + `]`, refusedInvalid, "group 1 has an invalid name"},
	{`["version", 7, "groups", [` + names(1025) + `], ` + validRest + `]`, refusedInvalid, "1025 groups, at most 1024 are allowed"},
	{`["version", 7, "groups", ["g1"], "sentinels", [` + sentinelsOf(65) + `]]`, refusedInvalid, "65 sentinels, at most 64 are allowed"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "weights", ["g2", 1]]`, refusedInvalid, "a weight of a group that is not there"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "weights", ["g1", 0]]`, refusedInvalid, "group 'g1' has weight 0, 1 to 1000 are allowed"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "weights", ["g1", 1001]]`, refusedInvalid, "group 'g1' has weight 1001, 1 to 1000 are allowed"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "x", "a\nb"]`, refusedInvalid, "setting 'x' is longer than 256 bytes or has unprintable ones"},
	{`["version", 7, "groups", ["g1"], ` + validRest + `, "x", "` + strings.Repeat("y", 257) + `"]`, refusedInvalid, "setting 'x' is longer than 256 bytes or has unprintable ones"},
	{`["version", 7, "groups", ["g1"], "sentinels", [["10.0.0.1", 1], ["10.0.0.1", 1]]]`, refusedInvalid, "sentinel 10.0.0.1:1 is there twice"},
	{`["version", 7, "groups", ["g1"], "sentinels", [["a.example", 1], ["A.example.", 1]]]`, refusedInvalid, "sentinel A.example.:1 is there twice"},
	{`["version", 7, "groups", ["g1"], "sentinels", [["::ffff:10.0.0.1", 1], ["10.0.0.1", 1]]]`, refusedInvalid, "sentinel 10.0.0.1:1 is there twice"},
}

func TestAnswersRefused(t *testing.T) {
	for _, tt := range refusals {
		a, err := parseAnswer(valueOf(t, tt.in))
		if err == nil {
			_, err = a.judge(nil, "m:1")
		}
		var r *refusal
		if !errors.As(err, &r) || r.kind != tt.kind || r.text != tt.text {
			t.Errorf("%.200s\n got %v\nwant %v: %s", tt.in, err, tt.kind, tt.text)
		}
	}
}

func TestSentinelHosts(t *testing.T) {
	for host, ok := range map[string]bool{
		"10.0.0.1": true, "::1": true, "2001:db8::7": true, "sentinel-1": true, "a.b.example.org": true, "a_b": true, "example.org.": true,
		"": false, ".": false, "a..b": false, "-a": false, "a-": false, "a b": false, "a\r\nb": false, "300.1.1.1": false, "1.2.3": false, "fe80::1%eth0": false,
		"[::1]": false, "a:b": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "a/b": false,
		strings.Repeat("a", 63) + ".org": true, strings.Repeat("a", 64) + ".org": false, strings.Repeat("a.", 127) + "org": false,
	} {
		err := heldBy(respconn.List(respconn.Bulk(host), respconn.Int(26379)))
		if (err == nil) != ok {
			t.Errorf("host %q: %v", host, err)
		}
	}
	for port, ok := range map[string]bool{"1": true, "65535": true, "0": false, "65536": false, "70000": false, "-1": false, "abc": false, "": false, "01": false, "+1": false, "1 ": false} {
		err := heldBy(respconn.List(respconn.Bulk("10.0.0.1"), respconn.Bulk(port)))
		if (err == nil) != ok {
			t.Errorf("port %q: %v", port, err)
		}
	}
}

func heldBy(sentinel respconn.Value) error {
	a, err := parseAnswer(respconn.List(respconn.Bulk("version"), respconn.Int(1), respconn.Bulk("groups"), respconn.Strings("g1"),
		respconn.Bulk("sentinels"), respconn.List(sentinel)))
	if err == nil {
		_, err = a.judge(nil, "m:1")
	}
	return err
}

// The greatest topology that the rules allow goes through the caps of a reply.
func TestGreatestAnswer(t *testing.T) {
	var groups, weights, sentinels []respconn.Value
	for i := range MaxGroups {
		name := fmt.Sprintf("%0*d", maxName, i)
		groups = append(groups, respconn.Bulk(name))
		weights = append(weights, respconn.Bulk(name), respconn.Bulk("1000"))
	}
	host := strings.Repeat("a.", 124) + "host"
	for i := range MaxSentinels {
		sentinels = append(sentinels, respconn.List(respconn.Bulk(host), respconn.Int(int64(i+1))))
	}
	all := []respconn.Value{respconn.Bulk("version"), respconn.Int(maxVersion), respconn.Bulk("groups"), respconn.List(groups...),
		respconn.Bulk("weights"), respconn.List(weights...), respconn.Bulk("sentinels"), respconn.List(sentinels...)}
	for i := range MaxSettings {
		all = append(all, respconn.Bulk(fmt.Sprintf("%0*d", maxName, i)), respconn.Bulk(strings.Repeat("x", maxSetting)))
	}
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		s := respconn.NewServer(server, respconn.RequestLimits{})
		_ = s.Reply(respconn.List(all...)) // an error shows at the other end
		_ = s.Flush()
		server.Close()
	}()
	v, err := respconn.New(client, answerLimits).Receive()
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseAnswer(v)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := a.judge(nil, "m:1")
	if err != nil || len(fresh.Groups) != MaxGroups || fresh.Groups[0].Weight != MaxWeight || len(fresh.Sentinels) != MaxSentinels || len(fresh.Settings) != MaxSettings {
		t.Fatal(err)
	}
	s := newStore(t.TempDir(), "p", "c")
	if err := s.save(*fresh); err != nil {
		t.Fatal(err)
	}
	fresh.FromDisk = true
	back, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*fresh, back); d != "" {
		t.Fatal(d)
	}
}

// FuzzAnswer holds that whatever a manager sends is taken whole and valid, or refused with a cause of one line.
func FuzzAnswer(f *testing.F) {
	f.Add("*2\r\n$7\r\nversion\r\n:7\r\n", uint64(7))
	f.Add("*6\r\n$7\r\nversion\r\n:7\r\n$6\r\ngroups\r\n*1\r\n$2\r\ng1\r\n$9\r\nsentinels\r\n*1\r\n*2\r\n$1\r\ns\r\n$1\r\n1\r\n", uint64(0))
	f.Add("%3\r\n+version\r\n:7\r\n+groups\r\n*1\r\n+g1\r\n+sentinels\r\n*1\r\n*2\r\n+s\r\n:1\r\n", uint64(3))
	f.Add("-ERR no such cluster 'x'\r\n", uint64(0))
	f.Fuzz(func(t *testing.T, in string, have uint64) {
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			_, _ = io.WriteString(server, in) // the reader may be gone before the end
			server.Close()
		}()
		v, err := respconn.New(client, answerLimits).Receive()
		if err != nil {
			return
		}
		var old *Topology
		if have > 0 {
			old = &Topology{Version: have, Groups: []Group{{"g1", 1}}, Sentinels: []string{"s:1"}}
		}
		a, err := parseAnswer(v)
		var fresh *Topology
		if err == nil {
			fresh, err = a.judge(old, "m:1")
		}
		var r *refusal
		switch {
		case err != nil && (!errors.As(err, &r) || fresh != nil || strings.ContainsAny(err.Error(), "\r\n\x00")):
			t.Fatalf("%q: %q", in, err)
		case fresh != nil && (fresh.Version <= have || fresh.validate() != nil):
			t.Fatalf("%q was taken", in)
		}
	})
}
