package managerclient

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() Topology {
	return Topology{Version: 42, Groups: []Group{{"g1", 1}, {"g2", 3}}, Sentinels: []string{"10.0.0.1:26379", "[::1]:26380"},
		Settings: map[string]string{"hash_tag": "{}"}, Manager: "10.0.0.9:7078"}
}

func TestStoreKeeps(t *testing.T) {
	dir := t.TempDir()
	s := newStore(dir, "cache", "c1")
	if _, err := s.load(); !errors.Is(err, errNothingStored) {
		t.Fatalf("an empty directory: %v", err)
	}
	for _, v := range []uint64{1, 42} {
		want := sample()
		want.Version = v
		if err := s.save(want); err != nil {
			t.Fatal(err)
		}
		want.FromDisk = true
		got, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// Every byte that is changed, lost or added makes the file a damaged one.
func TestStoreRefusesDamage(t *testing.T) {
	s := newStore(t.TempDir(), "cache", "c1")
	if err := s.save(sample()); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.parse(good); err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, i int, b []byte) {
		t.Helper()
		if _, err := s.parse(b); err == nil {
			t.Fatalf("%s %d: taken", what, i)
		} else if strings.Contains(err.Error(), "g1") {
			t.Fatalf("%s %d: the cause quotes the file: %v", what, i, err)
		}
	}
	for i := range good {
		for bit := range 8 {
			b := append([]byte(nil), good...)
			b[i] ^= 1 << bit
			refuse("bit flipped in byte", i, b)
		}
		refuse("cut at", i, good[:i])
		refuse("without byte", i, append(append([]byte(nil), good[:i]...), good[i+1:]...))
		refuse("with a byte more at", i, append(append(append([]byte(nil), good[:i]...), 'x'), good[i:]...))
	}
	refuse("with a byte more at", len(good), append(append([]byte(nil), good...), '\n'))
	refuse("of size", storeMost+1, make([]byte, storeMost+1))
}

// A file with a good checksum still goes through every rule.
func TestStoreRefusesContent(t *testing.T) {
	dir := t.TempDir()
	s := newStore(dir, "cache", "c1")
	for _, tt := range []struct{ body, want string }{
		{`{"cluster":"c2","version":1,"groups":[{"name":"g1","weight":1}],"sentinels":["s:1"],"manager":"m:1"}`, "the file is of another cluster, not of 'c1'"},
		{`{"cluster":"c1","version":0,"groups":[{"name":"g1","weight":1}],"sentinels":["s:1"],"manager":"m:1"}`, "the file is damaged: version 0 is out of range"},
		{`{"cluster":"c1","version":1,"groups":[],"sentinels":["s:1"],"manager":"m:1"}`, "the file is damaged: no groups"},
		{`{"cluster":"c1","version":1,"groups":[{"name":"g1","weight":1}],"sentinels":["s:0"],"manager":"m:1"}`, "the file is damaged: sentinel 1 has an invalid host or port"},
		{`{"cluster":"c1","version":-1}`, "the file is damaged: its JSON is not the expected one"},
		{`{"cluster":"c1","verson":1}`, "the file is damaged: its JSON is not the expected one"},
		{`[]`, "the file is damaged: its JSON is not the expected one"},
		{``, "the file is damaged: its JSON is not the expected one"},
	} {
		if err := os.WriteFile(s.path, append(storeHeader([]byte(tt.body)), tt.body...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.load()
		if want := "last good topology in " + s.path + ": " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", tt.body, err, want)
		}
	}
}

func TestStoreFileNames(t *testing.T) {
	seen := map[string]bool{}
	for _, pool := range []string{"cache", "Cache", "../cache", "a/b", "a%2fb", ".", "..", "a.b", "ü", "", strings.Repeat("x", 300), strings.Repeat("x", 301)} {
		name := fileName(pool)
		if seen[name] || name != filepath.Base(name) || len(name) > 240 {
			t.Errorf("%q is kept in %q", pool, name)
		}
		seen[name] = true
	}
}

func TestStoreCannotWrite(t *testing.T) {
	s := newStore(filepath.Join(t.TempDir(), "missing"), "cache", "c1")
	if err := s.save(sample()); err == nil {
		t.Fatal("saved into a directory that does not exist")
	}
	if _, err := s.load(); !errors.Is(err, errNothingStored) {
		t.Fatal(err)
	}
}
