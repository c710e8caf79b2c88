package failover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"respgate/tests/harness"
)

// TestFault67BrokenFile breaks the configuration file in every way: the old configuration stays, the console says where
// the mistake is, and a good file is applied then, however it is put in place.
func TestFault67BrokenFile(t *testing.T) {
	t.Parallel()
	s := setStage(t, []string{"g1"})
	p, c := s.proxy, s.proxy.Config
	l := s.load()
	l.Progress(50)
	taken, err := net.Listen("tcp", harness.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	good := c.String()
	last := fmt.Sprintf("respgate.yml:%d:", strings.Count(good, "\n")+1)
	for _, broken := range []struct{ name, text, cause, where string }{
		{"no YAML", "pools: [\n", "respgate.yml:", "respgate.yml:"},
		{"unknown key", good + "    no_such_key: 1\n", "no_such_key", last},
		{"wrong type", good + "    hold: soon\n", "hold", last},
		{"port in use", good + fmt.Sprintf("  more:\n    listen: %q\n    servers: [\"127.0.0.1:1:1 a\"]\n", taken.Addr()), taken.Addr().String(), "more"},
		{"half of it", good[:len(good)/2] + "\n  : : :", "respgate.yml:", "respgate.yml:"},
	} {
		p.Write(broken.text)
		harness.Eventually(t, harness.Patience, broken.name+": the console says why it is refused", func() error {
			if r := p.Admin("PROXY", "INFO", "config"); !strings.Contains(r.Str, broken.cause) || !strings.Contains(r.Str, broken.where) {
				return errors.New(r.Str)
			}
			return nil
		})
		waitLogged(t, p, "ERROR", "configuration refused", broken.cause, broken.where)
		l.Progress(10)
	}
	if err := os.Remove(p.File); err != nil {
		t.Fatal(err)
	}
	l.Progress(10)

	// Back again: renamed into place, written in place, and behind a symbolic link that is turned.
	pools := 0
	file := func() string {
		pools++
		c.ServersPool(fmt.Sprint("more", pools), []string{s.servers["g1"].Addr() + ":1 alpha"})
		return c.String()
	}
	up := func() { p.WaitUp(fmt.Sprint("more", pools)) }
	p.Write(file())
	up()
	if err := os.WriteFile(p.File, []byte(file()), 0o600); err != nil {
		t.Fatal(err)
	}
	up()
	dir := t.TempDir()
	turn := func() {
		t.Helper()
		target := filepath.Join(dir, fmt.Sprint("v", pools))
		if err := errors.Join(os.WriteFile(target, []byte(file()), 0o600), os.Symlink(target, p.File+".link"), os.Rename(p.File+".link", p.File)); err != nil {
			t.Fatal(err)
		}
		up()
	}
	turn()
	turn()
	l.Progress(50)
	untouched(t, l.Finish(s.servers))
}
