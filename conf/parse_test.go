package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"respgate/engine/shard"
)

// TestTranscripts runs testdata/transcripts:
//
//	parse   every mistake; or ok, what differs from the defaults, and the warnings
//	base    keeps the file for diff
//	diff    what a reload from base would do
func TestTranscripts(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, file string) {
		var base *Config
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			cfg, err := Parse("f.yml", []byte(d.Input))
			if err != nil {
				return err.Error() + "\n"
			}
			switch d.Cmd {
			case "parse":
				return "ok\n" + describe(cfg)
			case "base":
				base = cfg
				return "ok\n"
			case "diff":
				changes := Diff(base, cfg)
				if changes.Empty() != (len(changes.Lines()) == 0) {
					t.Errorf("%s: Empty is %v with %d lines", d.Pos, changes.Empty(), len(changes.Lines()))
				}
				return strings.Join(append(changes.Lines(), ""), "\n")
			}
			t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

// describe lists what differs from the defaults, and the warnings.
func describe(cfg *Config) string {
	var b strings.Builder
	list := func(prefix string, table []key, defaults, v any) {
		for _, k := range diffKeys(table, defaults, v) {
			fmt.Fprintf(&b, "%s%s = %s\n", prefix, k.Key, orNothing(k.New))
		}
	}
	defaults := &Config{}
	if err := decodeExact(globalSection.withDefaults(), defaults); err != nil {
		return err.Error()
	}
	defaults.ProxyID = cfg.ProxyID // of the host
	list("", globalKeys, defaults, cfg)
	for _, name := range slices.Sorted(maps.Keys(cfg.Pools)) {
		pool := &Pool{}
		if err := decodeExact(poolSection.withDefaults(), pool); err != nil {
			return err.Error()
		}
		list(name+".", poolKeys, pool, cfg.Pools[name])
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(&b, "warning %s\n", w)
	}
	return b.String()
}

// TestContract loads the file that CONFIG.md promises to work, field by field.
func TestContract(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/respgate:/var/lib/other")
	cfg, err := Load("testdata/good/contract.yml")
	must(t, err)
	host, err := os.Hostname()
	must(t, err)
	pool := func(name, listen string, change func(*Pool)) *Pool {
		p := &Pool{
			Name: name, Listen: Listen{Network: "tcp", Address: listen},
			Hash: shard.FNV1a64, Distribution: shard.Ketama,
			Timeout: 3 * time.Second, Hold: Hold{Requests: 10000, Bytes: 32 * MB},
			SentinelHeartbeat: time.Second, SentinelMissed: 3, SentinelTimeout: 2 * time.Second, AuthorityLease: LeaseAuto,
			Backlog: 512, ServerConnections: 1, Databases: 16, SessionLinks: 1000, ClientBuffer: 32 * MB, Pipeline: MB,
			ServerRetryTimeout: 30 * time.Second, ServerFailureLimit: 2,
		}
		change(p)
		return p
	}
	want := &Config{
		File:   "testdata/good/contract.yml",
		Digest: cfg.Digest,
		Admin:  Admin{Listen: "127.0.0.1:7079"}, Log: Log{Format: "auto"}, Metrics: Metrics{Listen: "127.0.0.1:9179"},
		Limits: Limits{MaxClients: 10000, Memory: 512 * MB}, Batch: 150 * time.Microsecond, StateDir: "/var/lib/respgate", ProxyID: defaultProxyID(host, "127.0.0.1:7079"),
		Pools: map[string]*Pool{
			"cache": pool("cache", "127.0.0.1:6401", func(p *Pool) {
				p.HashTag = "{}"
				p.Groups = []Group{{"g1", 1}, {"g2", 1}}
				p.Sentinels = []SentinelRef{{"127.0.0.1", 26379, ""}, {"127.0.0.1", 26380, ""}, {"127.0.0.1", 26381, ""}}
			}),
			"sessions": pool("sessions", "127.0.0.1:6402", func(p *Pool) {
				p.Manager = &Manager{Addresses: []string{"127.0.0.1:7078"}, Cluster: "sessions", Heartbeat: time.Second, Timeout: 2 * time.Second}
			}),
			"legacy": pool("legacy", "127.0.0.1:6403", func(p *Pool) {
				p.Servers = []Server{{"127.0.0.1", 6379, "", 1, "alpha"}, {"127.0.0.1", 6380, "", 1, "beta"}}
			}),
		},
	}
	if diff := cmp.Diff(want, cfg, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(cfg.Digest) != 64 || len(cfg.Warnings()) != 0 {
		t.Errorf("digest %q, warnings %q", cfg.Digest, cfg.Warnings())
	}
	for name, want := range map[string]Source{"cache": SourceFile, "sessions": SourceManager, "legacy": SourceServers} {
		if got := cfg.Pools[name].Source(); got != want {
			t.Errorf("%s: source %v, not %v", name, got, want)
		}
	}
}

// TestGoodFiles loads the files that are shipped or kept as examples.
func TestGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yml")
	must(t, err)
	if len(files) < 2 {
		t.Fatalf("only %v", files)
	}
	for _, file := range append(files, "../deploy/respgate.yml") {
		cfg, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for name, p := range cfg.Pools {
			if p.Name != name {
				t.Errorf("%s: pool %s is named %s", file, name, p.Name)
			}
		}
	}
}

// Two pools may not share what one of them could change.
func TestNothingIsShared(t *testing.T) {
	cfg, err := Parse("f.yml", []byte(`
pools:
  a: &a {listen: "127.0.0.1:1", manager: &m {addresses: ["127.0.0.1:7"], cluster: c}}
  b: {<<: *a, listen: "127.0.0.1:2"}
  c: {<<: *a, listen: "127.0.0.1:3", manager: *m}
`))
	must(t, err)
	managers := map[*Manager]bool{}
	for _, p := range cfg.Pools {
		managers[p.Manager] = true
	}
	if len(managers) != 3 {
		t.Errorf("%d managers for 3 pools", len(managers))
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yml")
	_, err := Load(missing)
	var errs *Errors
	if !errors.As(err, &errs) || !errors.Is(err, fs.ErrNotExist) || err.Error() != missing+": read: no such file or directory" {
		t.Errorf("missing file: %v", err)
	}
	if _, err = Load(dir); err == nil || err.Error() != dir+": read: is a directory" {
		t.Errorf("directory: %v", err)
	}
	large := filepath.Join(dir, "large.yml")
	write(t, large, "#"+strings.Repeat("x", MaxFileSize))
	if _, err = Load(large); err == nil || err.Error() != large+": the file is larger than 4194304 bytes" {
		t.Errorf("large file: %v", err)
	}
}

// What cannot be written in a transcript, or is too long for one.
func TestHostileFiles(t *testing.T) {
	long := strings.Repeat("x", 5000)
	bomb := "pools:\n  a0: &a0 {listen: 1}\n"
	for i := 1; i < 30; i++ {
		refs := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 50), ", ")
		bomb += fmt.Sprintf("  a%d: &a%d {<<: [%s]}\n", i, i, refs)
	}
	items := "pools:\n  p0: &p {listen: 'h:1', sentinels: ['h:2'], groups: &g [" + strings.Repeat("g,", 1024) + "]}\n"
	for i := 1; i < 1024; i++ {
		items += fmt.Sprintf("  p%d: {<<: *p}\n", i)
	}
	for _, c := range []struct{ name, file, want string }{
		{"NUL", "a: \x00", "control characters are not allowed"},
		{"not UTF-8", "a: \xff\xfe\xfd", "invalid"},
		{"UTF-16", "\xff\xfea\x00", "must be a map of keys"},
		{"deep flow", strings.Repeat("[", 20000), "exceeded max depth"},
		{"deep blocks", strings.Repeat("- ", 20000), "exceeded max depth"},
		{"deep maps", "pools: " + strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000), "pools.a.a: unknown key"},
		{"cycle", "pools: &a {a: *a}", "pools.a.a: unknown key"},
		{"cycle of lists", "pools: {a: {servers: &a [*a]}}", "pools.a.servers[0]: must be text"},
		{"merge cycle", "pools: {a: &a {<<: *a}}", "merges are nested deeper than 8"},
		{"merge bomb", bomb, "the file has more than 131072 values"},
		{"alias bomb", items, "the file has more than 131072 values"},
		{"long key", long[:500] + ": 1", strings.Repeat("x", maxShown) + ": unknown key"},
		{"long name", "pools: {" + long[:200] + ": {}}", "the name of a pool must be 1 to 64 letters"},
		{"long text", "pools: {a: {redis_user: " + long + "}}", "is longer than 1024 bytes"},
		{"long secret", "pools: {a: {redis_auth: " + long + "}}", "must be one line of at most 4096 bytes"},
		{"many pools", "pools:\n" + numbered("  p%d: {}\n", 1025), "must have at most 1024 pools, not 1025"},
		{"many servers", "pools: {a: {servers: [" + numbered("'h:%d:1',", 1025) + "]}}", "must have at most 1024 items, not 1025"},
		{"many sentinels", "pools: {a: {sentinels: [" + numbered("'h:%d',", 65) + "]}}", "must have at most 64 items, not 65"},
		{"many mistakes", "pools:\n" + numbered("  p%d: {}\n", 1000), "f.yml: 1900 more errors not shown"},
		{"control character", `pools: {a: {redis_user: "a\nb"}}`, "must not have control characters"},
		{"control character in a secret", `pools: {a: {redis_auth: "a\0b"}}`, "must be one line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f.yml", []byte(c.file))
			var errs *Errors
			if !errors.As(err, &errs) {
				t.Fatalf("error %T: %v", err, err)
			}
			if text := err.Error(); !strings.Contains(text, c.want) {
				t.Errorf("no %q in %.500s", c.want, text)
			}
			if len(errs.List) > maxErrors {
				t.Errorf("%d errors", len(errs.List))
			}
		})
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i+1)
	}
	return b.String()
}

// Whatever prefix of a file a reload finds, it is refused or complete; it is never a panic.
func TestEveryPrefix(t *testing.T) {
	data, err := os.ReadFile("testdata/good/contract.yml")
	must(t, err)
	for i := range data {
		checkParse(t, data[:i])
	}
}

// checkParse parses data and holds what is true of every result.
func checkParse(t *testing.T, data []byte) {
	t.Helper()
	cfg, err := Parse("f.yml", data)
	if (cfg == nil) != (err != nil) {
		t.Fatalf("config %v with error %v", cfg, err)
	}
	if err != nil {
		var errs *Errors
		if !errors.As(err, &errs) || len(errs.List) == 0 || len(errs.List) > maxErrors {
			t.Fatalf("error %T %v", err, err)
		}
		for _, e := range errs.List {
			if e.Message == "" || strings.ContainsAny(e.Error(), "\n\r\x00\x1b") {
				t.Fatalf("message %q", e.Error())
			}
		}
		return
	}
	again, err := Parse("f.yml", data)
	if err != nil || !Diff(cfg, again).Empty() || again.Digest != cfg.Digest {
		t.Fatalf("another result for the same file: %v %v", err, Diff(cfg, again).Lines())
	}
	if len(cfg.Pools) == 0 || cfg.ProxyID == "" || len(cfg.ProxyID) > maxProxyID {
		t.Fatalf("pools %v, proxy id %q", cfg.Pools, cfg.ProxyID)
	}
	for name, p := range cfg.Pools {
		checkPool(t, name, p)
	}
	for _, w := range cfg.Warnings() {
		if strings.ContainsAny(w, "\n\r\x00\x1b") {
			t.Fatalf("warning %q", w)
		}
	}
}

// checkPool holds that the engine can be given the pool.
func checkPool(t *testing.T, name string, p *Pool) {
	t.Helper()
	sources := 0
	for _, given := range []bool{len(p.Servers) > 0, len(p.Groups) > 0 && len(p.Sentinels) > 0, p.Manager != nil} {
		if given {
			sources++
		}
	}
	if p.Name != name || p.Listen.Address == "" || sources != 1 || (len(p.Groups) > 0) != (len(p.Sentinels) > 0) {
		t.Fatalf("pool %q: %+v", name, p)
	}
	var nodes []shard.Node
	for _, s := range p.Servers {
		nodes = append(nodes, shard.Node{Name: s.HashName(), Weight: s.Weight})
	}
	for _, g := range p.Groups {
		nodes = append(nodes, shard.Node{Name: g.Name, Weight: g.Weight})
	}
	if len(nodes) > 0 {
		if _, err := shard.New(shard.Config{Hash: p.Hash, Distribution: p.Distribution, Tag: p.HashTag, Nodes: nodes}); err != nil {
			t.Fatalf("pool %q has no ring: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/good/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range []string{
		"", "a", "{}", "pools:", "pools: {a: {listen: /s 0600, servers: [/t:1]}}", "pools: &a {a: *a}", "pools: {a: &a {<<: [*a, *a]}}",
		"pools: {a: {listen: h:1, sentinels: [h:2 s], groups: [a, {name: b, weight: 2}]}}", "pools: {a: {redis_auth: {file: /x}}}",
		"- \n? a\n: b", "%YAML 1.1\n---\na: !!binary x", "a: *b", "a: |\n  b\n", "\xff\xfe", "pools: {a: {timeout: 1e3, hold: {timeout: auto}}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(checkParse)
}

// The key table, the structs and the defaults cannot drift apart: newSection checks each key, this checks that no field is left.
func TestEveryFieldHasAKey(t *testing.T) {
	for _, c := range []struct {
		section *section
		of      reflect.Type
	}{{globalSection, reflect.TypeFor[Config]()}, {poolSection, reflect.TypeFor[Pool]()}, {groupItem, reflect.TypeFor[Group]()}} {
		eachTag(c.of, func(outer, tag string) {
			s := c.section
			if outer != "" {
				s = s.sections[outer]
			}
			if s == nil || (s.keys[tag] == nil && s.sections[tag] == nil) {
				t.Errorf("%v: field of key %q has no entry in the table", c.of, strings.TrimPrefix(outer+"."+tag, "."))
			}
		})
	}
}

func eachTag(of reflect.Type, visit func(outer, tag string)) {
	for _, f := range reflect.VisibleFields(of) {
		tag := f.Tag.Get("mapstructure")
		if tag == "" {
			continue
		}
		visit("", tag)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			for _, g := range reflect.VisibleFields(inner) {
				if sub := g.Tag.Get("mapstructure"); sub != "" {
					visit(tag, sub)
				}
			}
		}
	}
}

func TestDecodeExactIsStrict(t *testing.T) {
	for name, m := range map[string]map[string]any{
		"wraps":      {"weight": int64(1 << 40)},
		"converts":   {"weight": "1"},
		"unknown":    {"weight": 1, "wight": 1},
		"other case": {"Weight": 1},
		"null":       {"weight": nil, "name": 1},
	} {
		var g Group
		if err := decodeExact(m, &g); err == nil {
			t.Errorf("%s: accepted as %+v", name, g)
		}
	}
}

func TestDefaultProxyID(t *testing.T) {
	for _, c := range []struct{ host, admin, want string }{
		{"web-1.example.org", "127.0.0.1:7079", "web-1.example.org-7079"},
		{"web-1", "", "web-1"},
		{"wéb 1", "[::1]:1", "w-b-1-1"},
		{strings.Repeat("x", 300), ":65535", strings.Repeat("x", 122) + "-65535"},
	} {
		if got := defaultProxyID(c.host, c.admin); got != c.want || checkProxyID(got) != nil {
			t.Errorf("%q %q: %q, not %q", c.host, c.admin, got, c.want)
		}
	}
}
