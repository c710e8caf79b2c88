package admin

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// audit logs what an operator did, once, with who it was.
func (s *session) audit(action string, attrs ...any) {
	s.server.log.Info("operator on the admin port", append([]any{"action", action, "client", s.remote, "name", s.snapshot().name}, attrs...)...)
}

// proxySwitch is PROXY SWITCH pool group [host port]. It goes on when the client vanishes: a switch that has begun is safer finished, or given up by
// its deadline, than broken off in the middle. One runs at a time in a group.
func proxySwitch(s *session, args []string) respconn.Value {
	srv := s.server
	g := groupName{args[0], args[1]}
	var host string
	var port int
	if len(args) == 4 {
		var refusal respconn.Value
		var ok bool
		if host, port, refusal, ok = parseNode(args[2], args[3]); !ok {
			return refusal
		}
	}
	switch {
	case !srv.status.HasPool(g.pool):
		return noPool(g.pool)
	case !srv.status.HasGroup(g.pool, g.group):
		return noGroup(g.pool, g.group)
	case !srv.beginSwitch(g):
		return respconn.Errorf("INPROG a switch of group '%s' in pool '%s' is running already, see PROXY MASTERS", g.group, g.pool)
	}
	defer srv.endSwitch(g)
	ctx, cancel := context.WithTimeout(srv.ctx, srv.settings.Load().SwitchTimeout)
	defer cancel()
	began := time.Now()
	var done SwitchResult
	var err error
	if host == "" {
		done, err = srv.switcher.Switch(ctx, g.pool, g.group)
	} else {
		done, err = srv.switcher.SwitchTo(ctx, g.pool, g.group, host, port)
	}
	outcome := "done"
	if err != nil {
		outcome = flatten(err.Error())
	}
	s.audit("switch", "pool", g.pool, "group", g.group, "old", done.Old, "new", done.New, "took", time.Since(began), "outcome", outcome)
	if err != nil {
		return errorValue(err)
	}
	return respconn.Simple(strings.Join([]string{"OK", orDash(done.Old), orDash(done.New), strconv.FormatInt(done.Took.Milliseconds(), 10)}, " "))
}

// orDash keeps the place of a word that is not there: a group may have had no master.
func orDash(word string) string {
	if word == "" {
		return "-"
	}
	return word
}

// proxyRotate is PROXY ROTATE pool [host port].
func proxyRotate(s *session, args []string) respconn.Value {
	var host string
	var port int
	if len(args) == 3 {
		var refusal respconn.Value
		var ok bool
		if host, port, refusal, ok = parseNode(args[1], args[2]); !ok {
			return refusal
		}
	}
	if !s.server.status.HasPool(args[0]) {
		return noPool(args[0])
	}
	if err := s.server.switcher.Rotate(args[0], host, port); err != nil {
		return errorValue(err)
	}
	sentinel := "next"
	if host != "" {
		sentinel = net.JoinHostPort(host, strconv.Itoa(port))
	}
	s.audit("rotate", "pool", args[0], "sentinel", sentinel)
	return replyOK
}

// longestHost is that of the DNS, in bytes.
const longestHost = 253

// parseNode reads a host and a port as an operator typed them.
func parseNode(host, portText string) (_ string, port int, refusal respconn.Value, ok bool) {
	printable := strings.IndexFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	if host == "" || len(host) > longestHost || !printable {
		return "", 0, respconn.Errorf("ERR invalid host '%.64s'", host), false
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 {
		return "", 0, respconn.Errorf("ERR invalid port '%.64s': a number from 1 to 65535", portText), false
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]") // an IPv6 address as it stands in host:port
	return host, int(n), refusal, true
}

// proxyReload is PROXY RELOAD [DRYRUN].
func proxyReload(s *session, args []string) respconn.Value {
	dry := len(args) == 1
	if dry && !strings.EqualFold(args[0], "dryrun") {
		return errSyntax
	}
	lines, err := s.server.switcher.Reload(dry)
	if !dry {
		outcome := "done"
		if err != nil {
			outcome = flatten(err.Error())
		}
		s.audit("reload", "outcome", outcome)
	}
	if err != nil {
		return errorValue(err)
	}
	if len(lines) == 0 {
		lines = []string{"nothing changes"}
	}
	reply := make([]respconn.Value, len(lines))
	for i, l := range lines {
		reply[i] = respconn.Simple(l)
	}
	return respconn.List(reply...)
}
