package importer_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"respgate/conf"
	"respgate/conf/importer"
	"respgate/engine/shard"
)

var update = flag.Bool("update", false, "write the golden files")

func inputs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata: %v", err)
	}
	return files
}

func mustImport(t *testing.T, path string) (out []byte, warnings []string) {
	t.Helper()
	in, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, warnings, err = importer.Import(in, filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	return out, warnings
}

func TestGolden(t *testing.T) {
	for _, path := range inputs(t) {
		out, warnings := mustImport(t, path)
		got := string(out) + "---\n" + strings.Join(warnings, "\n") + "\n"
		golden := strings.TrimSuffix(path, ".yml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got); run with -update if it is right:\n%s", golden, diff)
		}
	}
}

// Each mistake with its place, several at once, and without what may be a password.
func TestMistakes(t *testing.T) {
	datadriven.RunTest(t, "testdata/mistakes", func(t *testing.T, d *datadriven.TestData) string {
		out, warnings, err := importer.Import([]byte(d.Input), "nc.yml")
		if err == nil {
			return "imported\n" + strings.Join(append(warnings, ""), "\n")
		}
		if out != nil {
			t.Errorf("%s: output beside an error", d.Pos)
		}
		var list *conf.Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: %T, want *conf.Errors", d.Pos, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes the password", d.Pos)
		}
		return err.Error() + "\n"
	})
}

// The ring of the imported file is compared with one that is built from the original as its documentation reads, key by key.
func TestNoKeyMoves(t *testing.T) {
	for _, path := range inputs(t) {
		out, _ := mustImport(t, path)
		imported, err := conf.Parse("imported.yml", out)
		if err != nil {
			t.Fatalf("%s: conf does not take what was imported: %v", path, err)
		}
		in, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var original map[string]struct {
			Hash, Distribution string
			Tag                string `yaml:"hash_tag"`
			Servers, Groups    []string
		}
		if err := yaml.Unmarshal(in, &original); err != nil {
			t.Fatal(err)
		}
		if len(original) != len(imported.Pools) {
			t.Errorf("%s: %d pools of %d imported", path, len(imported.Pools), len(original))
		}
		for name, o := range original {
			p := imported.Pools[name]
			if p == nil {
				t.Errorf("%s: no pool %q", path, name)
				continue
			}
			want := shard.Config{Tag: o.Tag}
			if o.Hash != "" {
				want.Hash = must(shard.ParseHash(o.Hash))
			}
			if o.Distribution != "" {
				want.Distribution = must(shard.ParseDistribution(o.Distribution))
			}
			for _, line := range o.Servers {
				want.Nodes = append(want.Nodes, documentedNode(line))
			}
			for _, group := range o.Groups {
				want.Nodes = append(want.Nodes, shard.Node{Name: group, Weight: 1})
			}
			got := shard.Config{Hash: p.Hash, Distribution: p.Distribution, Tag: p.HashTag}
			for _, s := range p.Servers {
				got.Nodes = append(got.Nodes, shard.Node{Name: s.HashName(), Weight: s.Weight})
			}
			for _, g := range p.Groups {
				got.Nodes = append(got.Nodes, shard.Node{Name: g.Name, Weight: g.Weight})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: pool %s (-original +imported):\n%s", path, name, diff)
			}
			if moved := shard.Moved(must(shard.New(want)), must(shard.New(got)), 10000); moved > 0 {
				t.Errorf("%s: pool %s: %d of 10000 keys move", path, name, moved)
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// documentedNode forms the name of a server by the rules of twemproxy, by another way than the importer's.
func documentedNode(line string) shard.Node {
	address, alias, _ := strings.Cut(line, " ")
	parts := strings.Split(address, ":")
	last := len(parts) - 1
	n := shard.Node{Name: strings.Join(parts[:last], ":")}
	fmt.Sscan(strings.TrimLeft(parts[last], "0"), &n.Weight)
	switch {
	case alias != "":
		n.Name = alias
	case strings.HasPrefix(line, "/"):
		n.Name += ":"
	case strings.TrimLeft(parts[last-1], "0") == "11211":
		n.Name = strings.Join(parts[:last-1], ":")
	}
	return n
}

func TestPasswordsStayOutOfMessages(t *testing.T) {
	in := []byte("a:\n  listen: 127.0.0.1:1\n  redis: true\n  redis_auth: hunter2\n  servers:\n   - 127.0.0.1:6379:1\n")
	out, warnings, err := importer.Import(in, "nc.yml")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(warnings, "\n"); strings.Contains(got, "hunter2") {
		t.Errorf("a warning quotes the password:\n%s", got)
	}
	if n := strings.Count(string(out), `"hunter2"`); n != 2 {
		t.Errorf("the password is written %d times, want for the clients and for the servers", n)
	}
}

func TestTooLarge(t *testing.T) {
	in := []byte("# " + strings.Repeat("x", conf.MaxFileSize))
	if _, _, err := importer.Import(in, "nc.yml"); err == nil {
		t.Error("a file of more than 4 MiB was taken")
	}
	many := "a:\n" + strings.Repeat("  - x: 1\n", 1)
	for i := range 300 {
		many += fmt.Sprintf("p%d:\n  listen: 127.0.0.1:1\n", i)
	}
	_, _, err := importer.Import([]byte(many), "nc.yml")
	var list *conf.Errors
	if !errors.As(err, &list) || len(list.List) > 100 || list.Omitted == 0 {
		t.Errorf("300 mistakes: %v", err)
	}
}

// FuzzImport holds that nothing panics, that what is imported is a file that conf takes, and that no key moves when it
// could be imported: the imported servers are the original ones.
func FuzzImport(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yml", "testdata/mistakes"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			in, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(in)
			for _, one := range strings.Split(string(in), "\n----\n") {
				if _, input, ok := strings.Cut(one, "\nimport"); ok {
					_, input, _ = strings.Cut(input, "\n")
					f.Add([]byte(input))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, _, err := importer.Import(in, "nc.yml")
		if err != nil {
			return
		}
		imported, err := conf.Parse("imported.yml", out)
		if err != nil {
			t.Fatalf("conf does not take what was imported: %v\n%s", err, out)
		}
		for name, p := range imported.Pools {
			c := shard.Config{Hash: p.Hash, Distribution: p.Distribution, Tag: p.HashTag}
			for _, s := range p.Servers {
				c.Nodes = append(c.Nodes, shard.Node{Name: s.HashName(), Weight: s.Weight})
			}
			for _, g := range p.Groups {
				c.Nodes = append(c.Nodes, shard.Node{Name: g.Name, Weight: g.Weight})
			}
			if _, err := shard.New(c); err != nil {
				t.Errorf("pool %q has no ring: %v\n%s", name, err, out)
			}
		}
	})
}
