package importer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"respgate/engine/shard"
)

var (
	errNumber   = errors.New("is not a whole number")
	errServer   = errors.New(`must be "host:port:weight [name]" or "/path:weight [name]"`)
	errSentinel = errors.New(`must be "host:port [name]"`)
	errListen   = errors.New(`must be "host:port" or "/path [mode]"`)
)

// number reads what twemproxy takes for a number: digits, leading zeros among them. What it lets overflow is refused.
func number(text string) (int, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, errNumber
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > math.MaxInt32 {
		return 0, fmt.Errorf("is larger than %d", math.MaxInt32)
	}
	return int(n), nil
}

// server is an item of a `servers` list.
type server struct {
	host   string // or the path of a unix socket
	port   string // as written; "" for a socket
	weight int
	alias  string
}

// parseServer cuts from the end, as twemproxy does: name, weight, port; what is left is the host, colons included.
func parseServer(text string) (server, error) {
	var s server
	address, alias, named := cutLast(text, ' ')
	if named && alias == "" {
		return s, errors.New("has a space at its end, after which twemproxy takes the server's name to be empty")
	}
	s.alias = alias
	address, weight, ok := cutLast(address, ':')
	if !ok {
		return s, errServer
	}
	var err error
	if s.weight, err = number(weight); err != nil || s.weight < 1 {
		return s, errors.New("the weight must be a whole number from 1")
	}
	s.host = address
	if strings.HasPrefix(address, "/") {
		if strings.Contains(address, ":") {
			return s, errors.New("the path of a socket cannot have a colon, which twemproxy does not take either")
		}
		return s, nil
	}
	if s.host, s.port, ok = cutLast(address, ':'); !ok || s.host == "" {
		return s, errServer
	}
	return s, checkPort(s.port)
}

func checkPort(port string) error {
	if n, err := number(port); err != nil || n < 1 || n > 65535 {
		return errors.New("the port must be from 1 to 65535")
	}
	return nil
}

// paddedPort tells of a port with leading zeros. twemproxy hashes it as written, which no host and port can say here.
func (s server) paddedPort() bool {
	return s.port != trimZeros(s.port) && s.alias == "" && trimZeros(s.port) != memcachedPort
}

const memcachedPort = "11211"

// line returns the server as respgate reads it, with the name that keeps its place on the ring.
func (s server) line() string {
	address, alias := s.host, s.alias
	if s.port != "" {
		address = bracket(s.host) + ":" + trimZeros(s.port)
		if s.paddedPort() {
			alias = s.host + ":" + s.port
		}
	}
	address += ":" + strconv.Itoa(s.weight)
	if alias != "" {
		address += " " + alias
	}
	return address
}

// hashed returns the name that twemproxy hashes.
func (s server) hashed() string {
	if s.port == "" {
		return shard.SocketName(s.host, s.alias)
	}
	if s.paddedPort() {
		return s.host + ":" + s.port
	}
	port, _ := number(s.port) // checked by parseServer
	return shard.NodeName(s.host, port, s.alias)
}

// sentinelLine returns a sentinel of twemproxy-163 as respgate reads it.
func sentinelLine(text string) (string, error) {
	address, name, named := cutLast(text, ' ')
	host, port, ok := cutLast(address, ':')
	if !ok || host == "" || named && name == "" {
		return "", errSentinel
	}
	if err := checkPort(port); err != nil {
		return "", err
	}
	line := bracket(host) + ":" + trimZeros(port)
	if named {
		line += " " + name
	}
	return line, nil
}

// listenLine returns where a pool listens as respgate reads it.
func listenLine(text string) (string, error) {
	if strings.HasPrefix(text, "/") {
		return text, nil
	}
	host, port, ok := cutLast(text, ':')
	if !ok || host == "" {
		return "", errListen
	}
	return bracket(host) + ":" + trimZeros(port), checkPort(port)
}

// bracket writes an IPv6 address, which twemproxy has without brackets.
func bracket(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

func trimZeros(digits string) string { return strings.TrimLeft(digits, "0") }

// cutLast cuts around the last separator; without one, before is the whole of s.
func cutLast(s string, separator byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
