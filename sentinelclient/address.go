package sentinelclient

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
)

// Address is where a sentinel or a node listens. Host is an IPv4 address, an
// IPv6 address without brackets, or a host name, exactly as it was told: names
// are resolved at each dial and never here.
type Address struct {
	Host string
	Port int
}

// IsZero reports whether no address is known.
func (a Address) IsZero() bool { return a == Address{} }

// String joins host and port, with brackets around an IPv6 host. The zero
// address is the empty string.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// ParseAddress reads host:port or [host]:port. The port is 1 to 65535.
func ParseAddress(s string) (Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("address %q: want host:port", s)
	}
	return newAddress(host, port)
}

// newAddress checks both halves of an address that came over the wire.
func newAddress(host, port string) (Address, error) {
	if !validHost(host) {
		return Address{}, fmt.Errorf("host %q is not a host name or an IP address", clip(host))
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || port[0] == '+' {
		return Address{}, fmt.Errorf("port %q is not 1-65535", clip(port))
	}
	return Address{Host: host, Port: n}, nil
}

// validHost accepts IP addresses (with a zone) and the letters of host names;
// the underscore is no letter of a host name, but container networks use it.
func validHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return host[0] != '-' && host[0] != '.'
}

// clip bounds what a peer sent before it goes into a cause.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// Credentials are what AUTH is sent with. An empty Password means that no AUTH
// is sent; an empty User means the default user (AUTH with one argument).
type Credentials struct {
	User, Password string
}

// String never shows the password.
func (c Credentials) String() string {
	if c.Password == "" {
		return "no password"
	}
	if c.User == "" {
		return "user default"
	}
	return "user " + c.User
}

// GoString never shows the password.
func (c Credentials) GoString() string { return "Credentials(" + c.String() + ")" }

// LogValue never shows the password.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// auth is the AUTH request, nil if none is to be sent.
func (c Credentials) auth() []string {
	switch {
	case c.Password == "":
		return nil
	case c.User == "":
		return []string{"AUTH", c.Password}
	}
	return []string{"AUTH", c.User, c.Password}
}

// Sentinel is a configured sentinel with what it wants in AUTH.
type Sentinel struct {
	Address
	User, Password string
}

// GoString never shows the password.
func (s Sentinel) GoString() string { return "Sentinel(" + s.Address.String() + ")" }

// LogValue never shows the password.
func (s Sentinel) LogValue() slog.Value { return slog.StringValue(s.Address.String()) }

func (s Sentinel) credentials() Credentials {
	return Credentials{User: s.User, Password: s.Password}
}
