package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"respgate/engine/shard"
)

// Listen is where a pool takes connections.
type Listen struct {
	Network string      // "tcp" or "unix"
	Address string      // as net.Listen takes it: "host:port" (host "" is every address of the machine), or an absolute path
	Mode    fs.FileMode // of a unix socket; 0 leaves it to the umask
}

// String returns the address as the file would have it.
func (l Listen) String() string {
	if l.Mode != 0 {
		return fmt.Sprintf("%s %04o", l.Address, l.Mode.Perm())
	}
	return l.Address
}

// Server is one node of a fixed list.
type Server struct {
	Host   string // without brackets; "" for a unix socket
	Port   int
	Path   string // of a unix socket; "" for TCP
	Weight int    // at least 1
	Name   string // the alias, "" without one
}

// Address returns "host:port", IPv6 in brackets, or the path of the socket.
func (s Server) Address() string {
	if s.Path != "" {
		return s.Path
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// String returns the server as the file would have it.
func (s Server) String() string {
	text := s.Address() + ":" + strconv.Itoa(s.Weight)
	if s.Name != "" {
		text += " " + s.Name
	}
	return text
}

// HashName returns the name that places the server on the ring, as twemproxy forms it.
func (s Server) HashName() string {
	if s.Path != "" {
		return shard.SocketName(s.Path, s.Name)
	}
	return shard.NodeName(s.Host, s.Port, s.Name)
}

// SentinelRef is one sentinel of a pool. Name is only shown, as twemproxy-163 has it.
type SentinelRef struct {
	Host string // without brackets
	Port int
	Name string
}

// Address returns "host:port", IPv6 in brackets.
func (s SentinelRef) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// String returns the sentinel as the file would have it.
func (s SentinelRef) String() string {
	if s.Name != "" {
		return s.Address() + " " + s.Name
	}
	return s.Address()
}

// Group is one shard of a sentinel pool; Name is what the sentinels call its master, and its place on the ring.
type Group struct {
	Name   string `mapstructure:"name"`
	Weight int    `mapstructure:"weight"` // at least 1
}

// String returns the name, with the weight if that is not 1.
func (g Group) String() string {
	if g.Weight != 1 {
		return fmt.Sprintf("%s (weight %d)", g.Name, g.Weight)
	}
	return g.Name
}

const (
	maxWeight     = 1 << 20 // times maxGroups it stays within the 32 bits that a ring adds weights in
	maxSocketPath = 107     // sun_path of sockaddr_un, less its final zero
	maxName       = 64
)

var (
	errHostPort = errors.New(`must be "host:port"; IPv6 as "[::1]:6379"`)
	errServer   = errors.New(`must be "host:port:weight [name]" or "/path:weight [name]"`)
	errMode     = errors.New("the mode of a socket must be octal, at most 0777")
)

// parseListen reads "host:port" or "/path [mode]".
func parseListen(s string) (Listen, error) {
	if !strings.HasPrefix(s, "/") {
		address, err := parseTCPListen(s)
		return Listen{Network: "tcp", Address: address}, err
	}
	socket, mode, spaced := strings.Cut(s, " ")
	l := Listen{Network: "unix", Address: path.Clean(socket)}
	if err := checkSocketPath(l.Address); err != nil {
		return Listen{}, err
	}
	if spaced {
		m, err := strconv.ParseUint(strings.TrimSpace(mode), 8, 32)
		if err != nil || m > 0o777 {
			return Listen{}, errMode
		}
		l.Mode = fs.FileMode(m)
	}
	return l, nil
}

// parseTCPListen reads "host:port"; an empty host, or "*", is every address of the machine.
func parseTCPListen(s string) (string, error) {
	host, port, err := splitHostPort(s)
	if err != nil {
		return "", err
	}
	if host == "*" {
		host = ""
	}
	if host != "" {
		if err := checkHost(host); err != nil {
			return "", err
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// parseHostPort reads the address of a peer.
func parseHostPort(s string) (host string, port int, err error) {
	host, port, err = splitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	return host, port, checkHost(host)
}

// checkHostPort is for addresses that are told to others as they stand.
func checkHostPort(s string) error {
	_, _, err := parseHostPort(s)
	return err
}

// splitHostPort splits at the last colon; an IPv6 address stands in brackets.
func splitHostPort(s string) (host string, port int, err error) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return "", 0, errHostPort
	}
	host = s[:at]
	if inner, ok := bracketed(host); ok {
		host = inner
	} else if strings.Contains(host, ":") {
		return "", 0, errHostPort
	}
	port, err = parsePort(s[at+1:])
	return host, port, err
}

func bracketed(host string) (string, bool) {
	inner, ok := strings.CutPrefix(host, "[")
	if !ok {
		return "", false
	}
	inner, ok = strings.CutSuffix(inner, "]")
	return inner, ok && strings.Contains(inner, ":")
}

func parsePort(s string) (int, error) {
	n, ok := decimal(s)
	if !ok {
		return 0, errHostPort
	}
	if n < 1 || n > 65535 {
		return 0, errors.New("the port must be from 1 to 65535")
	}
	return int(n), nil
}

// checkHost accepts an IP address or a host name. What has only digits and dots, or a colon, must be an address.
func checkHost(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if strings.Contains(host, ":") || strings.Trim(host, "0123456789.") == "" {
		return errors.New("the host is not an IP address")
	}
	if len(host) > 253 {
		return errors.New("the host name is longer than 253 characters")
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || !only(label, "-_") {
			return errors.New("the host is neither an IP address nor a host name")
		}
	}
	return nil
}

func checkSocketPath(p string) error {
	if len(p) > maxSocketPath {
		return fmt.Errorf("the path of a socket is at most %d bytes long", maxSocketPath)
	}
	return nil
}

// parseServer reads "host:port:weight [name]" or "/path:weight [name]". The weight is what follows the last colon and the port
// what follows the one before, as in twemproxy, so that an IPv6 address needs no brackets here.
func parseServer(s string) (Server, error) {
	address, alias, named := strings.Cut(s, " ")
	alias = strings.TrimSpace(alias)
	if named {
		if err := checkAlias(alias); err != nil {
			return Server{}, err
		}
	}
	at := strings.LastIndexByte(address, ':')
	if at < 0 {
		return Server{}, errServer
	}
	weight, ok := decimal(address[at+1:])
	if !ok {
		return Server{}, errServer
	}
	if weight < 1 || weight > maxWeight {
		return Server{}, fmt.Errorf("the weight must be from 1 to %d", maxWeight)
	}
	srv := Server{Weight: int(weight), Name: alias}
	address = address[:at]
	if strings.HasPrefix(address, "/") {
		srv.Path = address
		return srv, checkSocketPath(address)
	}
	at = strings.LastIndexByte(address, ':')
	if at < 0 {
		return Server{}, errServer
	}
	port, err := parsePort(address[at+1:])
	if err != nil {
		return Server{}, err
	}
	srv.Port = port
	srv.Host = address[:at]
	if inner, ok := bracketed(srv.Host); ok {
		srv.Host = inner
	}
	return srv, checkHost(srv.Host)
}

// parseSentinel reads "host:port [name]".
func parseSentinel(s string) (SentinelRef, error) {
	address, name, named := strings.Cut(s, " ")
	name = strings.TrimSpace(name)
	if named {
		if err := checkAlias(name); err != nil {
			return SentinelRef{}, err
		}
	}
	host, port, err := parseHostPort(address)
	return SentinelRef{Host: host, Port: port, Name: name}, err
}

// checkAlias accepts what twemproxy does, less what would break a line of output.
func checkAlias(s string) error {
	if s == "" || len(s) > 255 {
		return errors.New("the name after the address must have 1 to 255 characters")
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return errors.New("the name after the address must be printable ASCII without spaces")
		}
	}
	return nil
}

// checkName accepts the names of pools, groups and clusters: what Sentinel's documentation allows for the name of a master.
func checkName(s string) error {
	if s == "" || len(s) > maxName || !only(s, "._-") {
		return fmt.Errorf("must be 1 to %d letters, digits, dots, dashes or underscores", maxName)
	}
	return nil
}

// only tells whether s is made of ASCII letters, digits and the characters of more.
func only(s, more string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte(more, c) < 0:
			return false
		}
	}
	return true
}
