package failover

import (
	"strings"
	"testing"

	"respgate/tests/harness"
)

// TestSwitchWithoutMasterauth: the master has always been one, and nobody has given it the password that it needs as a
// replica. If it tells, it is not made one; if it may not be asked, the log and, if it shows in time, the reply say so.
func TestSwitchWithoutMasterauth(t *testing.T) {
	t.Parallel()
	f, p := stack(t, harness.FleetOptions{Groups: []string{"g1"}, Password: "secret"})
	g := f.Group("g1")
	old, next := g.Master, g.Replicas[0]
	l := p.Load("cache", f)
	l.Progress(50)
	for _, password := range []string{"", "wrong"} {
		old.Must("CONFIG", "SET", "masterauth", password)
		r := order(t, p, "g1")
		for _, part := range []string{"ERR check: master " + old.Addr() + " could not log in at replica " + next.Addr(), "CONFIG SET masterauth"} {
			if r.Kind != '-' || !strings.Contains(r.Str, part) {
				t.Errorf("masterauth %q: %s, want an error with %q", password, r.Text(), part)
			}
		}
		if row := p.Master("cache", "g1"); row["switches"] != "0" || row["master"] != old.Addr() || row["state"] != "up" {
			t.Errorf("masterauth %q: the console shows %v", password, row)
		}
	}

	old.Must("CONFIG", "SET", "masterauth", "")
	old.Must("ACL", "SETUSER", "default", "-config", "+config|set", "+config|rewrite")
	switched(t, f, "g1", p, p)
	const told = "old master does not follow the new one"
	p.WaitLog(told)
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, told) {
			for _, part := range []string{"cache", "g1", old.Addr(), next.Addr(), "masterauth"} {
				if !strings.Contains(line, part) {
					t.Errorf("the log does not say %q: %s", part, line)
				}
			}
		}
	}
	old.Must("CONFIG", "SET", "masterauth", "secret")
	f.WaitSettled()
	l.Progress(50)
	untouched(t, l.Finish(f.Masters()))
}
