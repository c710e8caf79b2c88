package manager

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func version(t *testing.T, s *Store, name string) uint64 {
	t.Helper()
	c, ok := s.Cluster(name)
	if !ok {
		t.Fatalf("no cluster %s", name)
	}
	return c.Version
}

func fileOf(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manager.yml")
	write(t, path, content)
	return path
}

// A version never stands for two contents, whatever is done to the file and however often the manager starts again.
func TestVersionsRise(t *testing.T) {
	path := fileOf(t, "")
	var s *Store
	for i, tt := range []struct {
		file string
		want uint64
	}{
		{"clusters: {a: {groups: [g1], sentinels: [\"h:1\"]}}", 1},
		{"clusters: {a: {groups: [g1], sentinels: [\"h:1\"]}} # a comment", 1},
		{"clusters: {a: {groups: [g2], sentinels: [\"h:1\"]}}", 2},
		{"clusters: {a: {groups: [g1], sentinels: [\"h:1\"]}}", 3}, // the first content again: a new version
		{"clusters: {a: {version: 2, groups: [g3], sentinels: [\"h:1\"]}}", 4},
		{"clusters: {a: {version: 4, groups: [g3, g4], sentinels: [\"h:1\"]}}", 5},
		{"clusters: {a: {version: 5, groups: [g3, g4], sentinels: [\"h:1\"]}}", 5},
		{"clusters: {a: {version: 50, groups: [g3, g4], sentinels: [\"h:1\"]}}", 50},
		{"clusters: {a: {groups: [g3, g4], sentinels: [\"h:1\"]}}", 50},
		{"clusters: {b: {groups: [g3, g4], sentinels: [\"h:1\"]}}", 0}, // a is gone ...
		{"clusters: {a: {groups: [g5], sentinels: [\"h:1\"]}}", 51},    // ... and goes on where it was
		{"clusters: {a: {groups: [{name: g5, weight: 2}], sentinels: [\"h:1\"]}}", 52},
		{"clusters: {a: {groups: [{name: g5, weight: 2}], sentinels: [\"h:2\"]}}", 53},
		{"clusters: {a: {groups: [{name: g5, weight: 2}], sentinels: [\"h:2\"], settings: {x: y}}}", 54},
	} {
		write(t, path, tt.file)
		if s == nil || i%2 == 0 {
			s = open(t, path)
		} else if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if tt.want == 0 {
			if _, ok := s.Cluster("a"); ok {
				t.Fatal("a is still there")
			}
			continue
		}
		if got := version(t, s, "a"); got != tt.want {
			t.Fatalf("step %d: version %d, want %d", i, got, tt.want)
		}
	}
}

func TestBrokenFileKeepsContent(t *testing.T) {
	path := fileOf(t, example)
	s := open(t, path)
	before := s.Clusters()
	for _, broken := range []string{"", "clusters: [", "clusters:\n  sessions:\n    groups: []\n", example + "listen: x\n"} {
		write(t, path, broken)
		if err := s.Reload(); err == nil {
			t.Errorf("%q was taken", broken)
		}
		if err := s.Reload(); err != nil {
			t.Errorf("complained about twice: %v", err)
		}
		if _, err := s.Set("sessions", Change{Groups: []Group{{"g9", 1}}}); err == nil || !strings.Contains(err.Error(), "has to be corrected first") {
			t.Errorf("set over a broken file: %v", err)
		}
		if got := read(t, path); got != broken {
			t.Errorf("a broken file was rewritten: %q", got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("no word about a file that is gone")
	}
	if d := cmp.Diff(before, s.Clusters()); d != "" {
		t.Error(d)
	}
	write(t, path, strings.Replace(example, "g1 #", "g7 #", 1))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := version(t, s, "sessions"); got != 2 {
		t.Errorf("version %d", got)
	}
}

func TestSetRewritesTheFile(t *testing.T) {
	path := fileOf(t, example)
	s := open(t, path)
	c, err := s.Set("sessions", Change{Groups: []Group{{"g2", 3}, {"g1", 1}, {"on", 1}, {"7", 4}}, Sentinels: []Sentinel{{"10.0.0.1", 26379}, {"::1", 26380}}})
	if err != nil || c.Version != 2 {
		t.Fatal(c, err)
	}
	if c, err = s.Set("cache", Change{Groups: []Group{{"c1", 1}, {"c2", 1}}}); err != nil || c.Version != 8 {
		t.Fatal(c, err)
	}
	if c, err = s.Set("fresh", Change{Groups: []Group{{"f1", 1}}, Sentinels: []Sentinel{{"h", 1}}, Settings: map[string]string{"a": "1", "b": "true"}}); err != nil || c.Version != 1 {
		t.Fatal(c, err)
	}
	want := `# The clusters of the shop.
listen: 127.0.0.1:0 # any port
clusters:
  # sessions
  sessions:
    groups:
      - {name: g2, weight: 3} # the bigger one
      - g1 # the first
      - on
      - {name: "7", weight: 4}
    sentinels: ['10.0.0.1:26379', "[::1]:26380"]
    settings: {hash_tag: "{}"} # tags
  cache:
    version: 8 # raised by hand
    groups: [c1, c2]
    sentinels: ['sentinel.example:26379']
  fresh:
    groups:
      - f1
    sentinels:
      - h:1
    settings:
      a: "1"
      b: "true"
# the end
`
	if d := cmp.Diff(want, read(t, path)); d != "" {
		t.Error(d)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Clusters(), open(t, path).Clusters()); d != "" {
		t.Errorf("after a restart: %s", d)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSetRefuses(t *testing.T) {
	path := fileOf(t, example)
	s := open(t, path)
	for name, change := range map[string]Change{
		"fresh":    {Groups: []Group{{"g1", 1}}},
		"sessions": {Groups: []Group{{"g1", 1}, {"g1", 1}}},
		"cache":    {Groups: []Group{{"g1", 1}}, Version: 7},
	} {
		if _, err := s.Set(name, change); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if read(t, path) != example {
		t.Error("the file was touched")
	}
	if c, err := s.Set("cache", Change{Version: 100}); err != nil || c.Version != 100 {
		t.Error(c, err)
	}
	if c, err := s.Set("cache", Change{Settings: map[string]string{"a": "b"}}); err != nil || c.Version != 101 {
		t.Error(c, err)
	}
	if c, err := s.Set("cache", Change{Settings: map[string]string{}}); err != nil || c.Version != 102 || len(c.Settings) > 0 {
		t.Error(c, err)
	}
	before := read(t, path)
	if c, err := s.Set("cache", Change{Groups: []Group{{"c1", 1}}}); err != nil || c.Version != 102 {
		t.Errorf("the same content got version %d, %v", c.Version, err)
	}
	if read(t, path) != before {
		t.Error("the same content was written again")
	}
}

// An edit by hand that nobody has noticed yet goes along with a SET, instead of being lost.
func TestSetTakesEditsAlong(t *testing.T) {
	path := fileOf(t, example)
	s := open(t, path)
	write(t, path, strings.Replace(example, "[c1]", "[c1, c9]", 1))
	if _, err := s.Set("sessions", Change{Groups: []Group{{"g1", 1}}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, path), "[c1, c9]") {
		t.Error("the edit was overwritten")
	}
	if got := version(t, s, "cache"); got != 8 {
		t.Errorf("version %d of the edited cluster", got)
	}
}

func TestSetThroughLink(t *testing.T) {
	real := fileOf(t, example)
	link := filepath.Join(t.TempDir(), "manager.yml")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link)
	if _, err := s.Set("cache", Change{Groups: []Group{{"c2", 1}}}); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != real || !strings.Contains(read(t, real), "[c2]") {
		t.Error("the link is a file now, or what it points to was not written", err)
	}
}

// If the versions cannot be kept, a change is not told to anybody.
func TestVersionsNotKept(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	content := "state: " + filepath.Join(state, "versions") + "\nclusters: {a: {groups: [g1], sentinels: [\"h:1\"]}}\n"
	path := fileOf(t, content)
	s := open(t, path)
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(content, "g1", "g2", 1))
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "keep the versions in") {
		t.Errorf("reload: %v", err)
	}
	if _, err := s.Set("a", Change{Groups: []Group{{"g3", 1}}}); err == nil || !strings.Contains(err.Error(), "keep the versions in") {
		t.Errorf("set: %v", err)
	}
	if c, _ := s.Cluster("a"); c.Version != 1 || c.Groups[0].Name != "g1" {
		t.Errorf("told: %+v", c)
	}
}

func TestDamagedVersions(t *testing.T) {
	path := fileOf(t, example)
	open(t, path)
	for _, damaged := range []string{"", "null", "{", `{"a": {"version": -1}}`, `{"a": {"vresion": 1}}`, "{} {}"} {
		write(t, path+".versions", damaged)
		if _, err := Open(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("%q: %v", damaged, err)
		}
	}
}

func TestVersionsAreBounded(t *testing.T) {
	v := versions{"a": {Version: maxVersion, Content: "x"}}
	if _, _, err := v.number([]Cluster{{Name: "a", Groups: []Group{{"g", 1}}}}); err == nil {
		t.Error("a version above the highest")
	}
	many := make([]Cluster, maxRemembered+1)
	for i := range many {
		many[i].Name = string(rune('a'+i%26)) + strings.Repeat("x", i/26)
	}
	if _, _, err := (versions{}).number(many); err == nil {
		t.Error("more versions than are to be remembered")
	}
}

// watched runs Watch and reports the version of a cluster until it is the wanted one.
func watched(t *testing.T, s *Store, hup <-chan struct{}) (until func(what string, want uint64)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Watch(ctx, hup) }()
	t.Cleanup(func() { cancel(); <-done })
	return func(what string, want uint64) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(30 * time.Second)
		for version(t, s, "a") != want {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s was not noticed: version %d, want %d", what, version(t, s, "a"), want)
			}
		}
	}
}

func clusterA(group string) string {
	return "clusters: {a: {groups: [" + group + "], sentinels: [\"h:1\"]}}\n"
}

func TestWatch(t *testing.T) {
	t.Parallel()
	path := fileOf(t, clusterA("g1"))
	s := open(t, path)
	hup := make(chan struct{})
	until := watched(t, s, hup)
	hup <- struct{}{} // the watch is on now
	write(t, path, clusterA("g2"))
	until("a write", 2)
	for i, want := range []uint64{3, 4} { // a file that was renamed over another is still watched
		next := path + ".new"
		write(t, next, clusterA("r"+string(rune('0'+i))))
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
		until("a rename", want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	hup <- struct{}{}
	write(t, path, clusterA("g5"))
	until("a file that came back", 5)
}

// A Kubernetes ConfigMap: the file is a link into ..data, itself a link that is swapped.
func TestWatchLinkSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, g := range []string{"g1", "g2"} {
		if err := os.Mkdir(filepath.Join(dir, g), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, g, "manager.yml"), "state: "+filepath.Join(dir, "versions")+"\n"+clusterA(g))
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("g1", "..data")
	link(filepath.Join("..data", "manager.yml"), "manager.yml")
	s := open(t, filepath.Join(dir, "manager.yml"))
	hup := make(chan struct{})
	until := watched(t, s, hup)
	hup <- struct{}{}
	link("g2", "..next")
	if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	until("a swapped link", 2)
}
