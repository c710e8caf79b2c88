package admin

import (
	"net"
	"strconv"
	"strings"

	"respgate/internal/respconn"
)

// audit logs what an operator did, once, with who it was.
func (s *session) audit(action string, attrs ...any) {
	s.server.log.Info("operator on the admin port", append([]any{"action", action, "client", s.remote, "name", s.snapshot().name}, attrs...)...)
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
