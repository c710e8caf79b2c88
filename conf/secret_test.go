package conf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

const canary = "hunter2canary"

func TestSecretNeverPrints(t *testing.T) {
	s := Secret(canary)
	type holder struct {
		S Secret
		P *Secret
		M map[string]Secret
	}
	h := holder{s, &s, map[string]Secret{"k": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "% x", "%T"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", []Secret{s})
		fmt.Fprintf(&out, verb+"\n", &Config{Admin: Admin{Password: s}})
	}
	fmt.Fprintln(&out, s, h, fmt.Errorf("wrapped %v", s))
	j, err := json.Marshal(h)
	must(t, err)
	y, err := yaml.Marshal(h)
	must(t, err)
	out.Write(j)
	out.Write(y)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("m", "secret", s, "holder", h, slog.Any("pool", Pool{RedisAuth: s}))
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("printed as %q in\n%s", form, out.String())
		}
	}
	if s.Reveal() != canary || Secret("").String() != "" || s.String() != "***" || fmt.Sprintf("%#v", s) != `"***"` {
		t.Errorf("%s %#v", s, s)
	}
}

// secretKeys are the keys whose values are never quoted.
func secretKeys(t *testing.T) []string {
	var keys []string
	for _, k := range globalKeys {
		if k.typ.secret {
			keys = append(keys, k.Name)
		}
	}
	for _, k := range poolKeys {
		if k.typ.secret {
			keys = append(keys, "pools.p."+k.Name)
		}
	}
	if len(keys) != 6 {
		t.Fatalf("secret keys: %v", keys)
	}
	return keys
}

// TestMistakesNeverQuoteSecrets writes a password in every wrong way at every place of one.
func TestMistakesNeverQuoteSecrets(t *testing.T) {
	forms := []string{
		"%s", `"%s"`, "'%s'", "[%s]", "{%s}", "{%s: 1}", "{file: %s}", "{file: /nowhere, %s: 1}", "*%s", "&%s x", "&%s", "!%s", "!%s x", "!!int %s",
		"!!binary %s", `"%s\q"`, `"%s`, "'%s", "%%%s", "@%s", "`%s", "x,%s", "x, %s", "x: %s", "x #%s", "#%s", "| %s", "> %s", "? %s", "- %s",
		"x, %s: 1", "{%s", "[%s", "}%s", "]%s", `"a"%s`, "%s\n%s", "\"%s\\0\"", "\"%s\\n\"", "%s\t: 1", ",%s", "<<: %s", "*%s*", "!<%s> x", "!%s!a x", "%s:", "\xff%s",
	}
	for _, key := range secretKeys(t) {
		for _, form := range forms {
			for _, glue := range []string{": ", ":", " ", ""} {
				for _, file := range filesWith(key, glue+strings.ReplaceAll(form, "%s", canary)) {
					file = strings.ReplaceAll(file, "%%", "%")
					cfg, err := Parse("f.yml", []byte(file))
					text := fmt.Sprint(err)
					if err == nil {
						text = fmt.Sprintf("%v %+v %#v", cfg.Warnings(), cfg.Admin, cfg.Pools["p"])
						text += strings.Join(Diff(cfg, &Config{}).Lines(), "\n")
					}
					if strings.Contains(text, canary) {
						t.Errorf("%s\n  in the report on\n%s", text, file)
					}
				}
			}
		}
	}
}

// filesWith returns the key with what follows it, in block and in flow style, in an otherwise good file.
func filesWith(key, rest string) []string {
	parts := strings.Split(key, ".")
	name := parts[len(parts)-1]
	manager := strings.Contains(key, "manager")
	var block, inline string
	switch {
	case parts[0] == "admin":
		block = "admin:\n  " + name + rest + "\npools: {p: {listen: 'h:1', servers: ['h:9:1']}}\n"
		inline = "admin: {listen: '', " + name + rest + "}\npools: {p: {listen: 'h:1', servers: ['h:9:1']}}\n"
	case manager:
		block = "pools:\n  p:\n    listen: h:1\n    manager:\n      addresses: [m:1]\n      cluster: c\n      " + name + rest + "\n"
		inline = "pools: {p: {listen: 'h:1', manager: {addresses: ['m:1'], cluster: c, " + name + rest + "}}}\n"
	default:
		block = "pools:\n  p:\n    listen: h:1\n    servers: ['h:9:1']\n    " + name + rest + "\n    timeout: 1s\n"
		inline = "pools: {p: {listen: 'h:1', " + name + rest + ", servers: ['h:9:1']}}\n"
	}
	return []string{block, inline}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	parse := func(value string) (*Config, error) {
		return Parse("f.yml", []byte("pools: {p: {listen: 'h:1', servers: ['h:9:1'], password: "+value+"}}"))
	}
	for name, content := range map[string]string{"plain": canary, "newline": canary + "\n", "crlf": canary + "\r\n"} {
		write(t, path(name), content)
		cfg, err := parse("{file: " + path(name) + "}")
		must(t, err)
		if got := cfg.Pools["p"].Password.Reveal(); got != canary {
			t.Errorf("%s: %q", name, got)
		}
	}
	write(t, path("empty"), "\n")
	write(t, path("lines"), canary+"\nsecond\n")
	write(t, path("large"), strings.Repeat("x", maxSecret+1))
	must(t, syscall.Mkfifo(path("pipe"), 0o600))
	for name, want := range map[string]string{
		"empty": "is empty", "lines": "must hold one line", "large": "is longer than 4096 bytes", "pipe": "is not a regular file",
		"missing": "no such file or directory", ".": "is not a regular file",
	} {
		_, err := parse("{file: " + path(name) + "}")
		want = "f.yml:1:65: pools.p.password.file: " + path(name) + ": " + want
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, not %s", name, err, want)
		}
	}
	// A rotated password is seen at the next load, and told without being shown.
	before, err := parse("{file: " + path("plain") + "}")
	must(t, err)
	must(t, os.WriteFile(path("plain"), []byte(canary+"2"), 0o600))
	after, err := parse("{file: " + path("plain") + "}")
	must(t, err)
	if lines := Diff(before, after).Lines(); len(lines) != 1 || lines[0] != "pools.p.password: *** -> *** (live)" {
		t.Errorf("%v", lines)
	}
	var errs *Errors
	if _, err := parse("{file: relative}"); !errors.As(err, &errs) || errs.List[0].Message != "must be an absolute path" {
		t.Errorf("%v", err)
	}
}
