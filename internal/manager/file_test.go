package manager

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = `# The clusters of the shop.
listen: 127.0.0.1:0 # any port

clusters:
  # sessions
  sessions:
    groups:
      - g1 # the first
      - {name: g2, weight: 2} # the bigger one
    sentinels: [127.0.0.1:26379, "[::1]:26380"]
    settings: {hash_tag: "{}"} # tags
  cache:
    version: 7 # raised by hand
    groups: [c1]
    sentinels: [sentinel.example:26379]
# the end
`

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseFile(t *testing.T) {
	f, err := parseFile("manager.yml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	want := []Cluster{
		{Name: "sessions", Groups: []Group{{"g1", 1}, {"g2", 2}}, Sentinels: []Sentinel{{"127.0.0.1", 26379}, {"::1", 26380}}, Settings: map[string]string{"hash_tag": "{}"}},
		{Name: "cache", Version: 7, Groups: []Group{{"c1", 1}}, Sentinels: []Sentinel{{"sentinel.example", 26379}}},
	}
	if d := cmp.Diff(want, f.Clusters); d != "" {
		t.Error(d)
	}
	if f.Listen != "127.0.0.1:0" || f.State != "manager.yml.versions" {
		t.Error(f.Listen, f.State)
	}
}

func TestStateIsBesideTheFile(t *testing.T) {
	for in, want := range map[string]string{"clusters:\n": "/etc/m.yml.versions", "state: v\n": "/etc/v", "state: ../v\n": "/v", "state: /var/v\n": "/var/v"} {
		f, err := parseFile("/etc/m.yml", []byte(in))
		if err != nil || f.State != want {
			t.Errorf("%q: %v, %v", in, f, err)
		}
	}
}

// Every mistake is told with its line and key, all of them at once, and none with its value: it might be a password.
func TestParseFileFaults(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "m.yml: the file is empty",
		"- a\n":                                "m.yml:1: the file has to be a mapping",
		"a: [\n":                               "m.yml: line 1: did not find expected node content",
		"clusters: {}\n---\na: b\n":            "m.yml: there is something behind the end of the first document",
		"listne: secret\n":                     "m.yml:1: listne: unknown key",
		"listen: here\npassword: [secret]\n":   "m.yml:1: listen: has to be host:port\nm.yml:2: password: has to be a string; quote it if it is one",
		"password: yes\n":                      "", // YAML 1.2 core: a string
		"state: \"\"\n":                        "m.yml:1: state: has to be a path",
		"password: true\n":                     "m.yml:1: password: has to be a string; quote it if it is one",
		"listen: a:1\nlisten: b:1\n":           "m.yml:2: listen: is there twice",
		"1.5: a\n":                             "m.yml:1: a key has to be a string",
		"clusters: [a]\n":                      "m.yml:1: clusters: has to be a mapping",
		"clusters:\n":                          "",
		"clusters:\n  a b:\n    groups: [g]\n": "m.yml:2: clusters.a b: a cluster's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -",
		"clusters:\n  a:\n":                    "m.yml:2: clusters.a: has to be a mapping",
		"clusters:\n  a: {}\n":                 "m.yml:2: clusters.a: a cluster needs a group",
		"clusters:\n  a: {groups: [g]}\n":      "m.yml:2: clusters.a: a cluster needs a sentinel",
		"clusters:\n  a: {groups: g, sentinels: [\"h:1\"]}\n":             "m.yml:2: clusters.a.groups: has to be a list",
		"clusters:\n  a: {groups: [], sentinels: [\"h:1\"]}\n":            "m.yml:2: clusters.a: a cluster needs a group",
		"clusters:\n  a: {groups: [g, g], sentinels: [\"h:1\"]}\n":        "m.yml:2: clusters.a: group 'g' is there twice",
		"clusters:\n  a: {groups: [g], sentinels: [\"h:1\", \"H.:1\"]}\n": "m.yml:2: clusters.a: sentinel H.:1 is there twice",
		"clusters:\n  a:\n    groups: [\"g 1\", null, {name: g, wieght: 1}, {name: h, weight: 1001}, {name: i, weight: x}]\n    sentinels: [h, \"h:0\", \"h:70000\", \"h h:1\", 7]\n    version: 0\n": "" +
			"m.yml:3: clusters.a.groups[0]: a group's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -\n" +
			"m.yml:3: clusters.a.groups[1]: has to be a string; quote it if it is one\n" +
			"m.yml:3: clusters.a.groups[2].wieght: unknown key\n" +
			"m.yml:3: clusters.a.groups[3]: a group's weight is 1 to 1000\n" +
			"m.yml:3: clusters.a.groups[4].weight: has to be a positive integer\n" +
			"m.yml:4: clusters.a.sentinels[0]: a sentinel is host:port, with IPv6 in brackets\n" +
			"m.yml:4: clusters.a.sentinels[1]: a sentinel's port is 1 to 65535\n" +
			"m.yml:4: clusters.a.sentinels[2]: a sentinel's port is 1 to 65535\n" +
			"m.yml:4: clusters.a.sentinels[3]: a sentinel's host is an IP address or a host name\n" +
			"m.yml:4: clusters.a.sentinels[4]: a sentinel is host:port, with IPv6 in brackets\n" +
			"m.yml:5: clusters.a.version: has to be a positive integer",
		"clusters:\n  a: {groups: [g], sentinels: [\"h:1\"], settings: {version: 1, b: \"\\n\", c: [d], e: ~}}\n": "" +
			"m.yml:2: clusters.a.settings.version: 'version' is a field of the protocol and cannot be a setting\n" +
			"m.yml:2: clusters.a.settings.b: the value of a setting has at most 256 bytes of printable ASCII\n" +
			"m.yml:2: clusters.a.settings.c: has to be a string or a number\n" +
			"m.yml:2: clusters.a.settings.e: has to be a string or a number",
		"x: &x {groups: [g], sentinels: [\"h:1\"]}\nclusters: {a: *x}\n": "m.yml:1: x: unknown key\nm.yml:2: clusters.a: has to be a mapping",
	} {
		_, err := parseFile("m.yml", []byte(in))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", in, d)
		}
	}
}

func TestReadFileTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yml")
	write(t, path, strings.Repeat("# comment\n", maxFile/10+1))
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Fatal(err)
	}
}

// FuzzParseFile holds that no file makes a panic, and that what is taken can be changed, written and read back.
func FuzzParseFile(f *testing.F) {
	f.Add(example)
	f.Add("clusters: {}\n")
	f.Add("clusters:\n  a: {groups: [g, {name: h}], sentinels: [\"h:1\"], settings: {}, version: 3}\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, in string) {
		file, err := parseFile("m.yml", []byte(in))
		if err != nil {
			return
		}
		for _, c := range append(file.Clusters, Cluster{Name: "fresh"}) {
			c.Groups = append([]Group{{"added", 5}}, c.Groups...)
			c.Sentinels = append([]Sentinel{{"::1", 7}}, c.Sentinels...)
			c.Settings = map[string]string{"hash_tag": "{}", "n": "0x1", "b": "true"}
			if c.listFault() != nil {
				continue
			}
			file.put(c)
			out, err := file.render()
			if err != nil {
				t.Fatalf("%q: %v", in, err)
			}
			back, err := parseFile("m.yml", out)
			if err != nil {
				t.Fatalf("%q became %q: %v", in, out, err)
			}
			found := false
			for _, b := range back.Clusters {
				found = found || b.Name == c.Name && b.Fingerprint() == c.Fingerprint()
			}
			if !found {
				t.Fatalf("%q became %q without the change of %s", in, out, c.Name)
			}
		}
	})
}
