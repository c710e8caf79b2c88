// Package manager is the reference manager: a RESP server that tells proxies which groups and sentinels a cluster has. Its protocol is docs/MANAGER.md;
// it shares no code with managerclient, so that each checks the other.
//
//	manager.yml <-> File (yaml.Node, comments kept) -> Store (clusters and their versions, one mutex) <- Server (a goroutine per connection)
//	                   ^ Watch (fsnotify, SIGHUP, slow poll)                                           <- Proxies (who has which version)
//
// The file is the truth: it is read again when it changes, and MANAGER SET rewrites it. Versions are kept beside it, because a version must never come
// back with other content.
package manager

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The caps of the protocol, as docs/MANAGER.md has them.
const (
	maxClusters  = 1024
	maxGroups    = 1024
	maxSentinels = 64
	maxSettings  = 64
	maxWeight    = 1000
	maxName      = 64
	maxHost      = 253
	maxSetting   = 256
)

// Group is a group of a cluster.
type Group struct {
	Name   string
	Weight int // 1 to 1000
}

// Sentinel is the address of one.
type Sentinel struct {
	Host string
	Port int
}

// String is host:port, with IPv6 in brackets.
func (s Sentinel) String() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Cluster is what proxies are told. One that is in a Store does not change any more; a change makes a new one.
type Cluster struct {
	Name      string
	Version   uint64 // given by the Store; it rises whenever the content changes
	Groups    []Group
	Sentinels []Sentinel
	Settings  map[string]string
}

// Fingerprint is 16 hex digits of a SHA-256 over the content, as docs/MANAGER.md defines it.
func (c Cluster) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintln(h, "groups")
	for _, g := range c.Groups {
		fmt.Fprintln(h, g.Name, g.Weight)
	}
	fmt.Fprintln(h, "sentinels")
	for _, s := range c.Sentinels {
		fmt.Fprintln(h, s)
	}
	fmt.Fprintln(h, "settings")
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		fmt.Fprintln(h, name, c.Settings[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// groupFault, sentinelFault and settingFault say what is wrong with one entry; nil if nothing is.
func groupFault(g Group) error {
	if !validName(g.Name) {
		return fmt.Errorf("a group's name has 1 to %d of the characters A-Z a-z 0-9 . _ -", maxName)
	}
	if g.Weight < 1 || g.Weight > maxWeight {
		return fmt.Errorf("a group's weight is 1 to %d", maxWeight)
	}
	return nil
}

func settingFault(name, value string) error {
	switch {
	case !validName(name):
		return fmt.Errorf("a setting's name has 1 to %d of the characters A-Z a-z 0-9 . _ -", maxName)
	case slices.Contains([]string{"version", "groups", "sentinels", "weights"}, name):
		return fmt.Errorf("'%s' is a field of the protocol and cannot be a setting", name)
	case len(value) > maxSetting || strings.ContainsFunc(value, unprintable):
		return fmt.Errorf("the value of a setting has at most %d bytes of printable ASCII", maxSetting)
	}
	return nil
}

// parseSentinel reads host:port.
func parseSentinel(s string) (Sentinel, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return Sentinel{}, errors.New("a sentinel is host:port, with IPv6 in brackets")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || strconv.FormatUint(port, 10) != portText {
		return Sentinel{}, errors.New("a sentinel's port is 1 to 65535")
	}
	if !validHost(host) {
		return Sentinel{}, errors.New("a sentinel's host is an IP address or a host name")
	}
	return Sentinel{Host: host, Port: int(port)}, nil
}

// listFault holds the rules over all entries of a cluster: none empty, none too long, none twice.
func (c Cluster) listFault() error {
	switch {
	case len(c.Groups) == 0:
		return errors.New("a cluster needs a group")
	case len(c.Groups) > maxGroups:
		return fmt.Errorf("a cluster has at most %d groups", maxGroups)
	case len(c.Sentinels) == 0:
		return errors.New("a cluster needs a sentinel")
	case len(c.Sentinels) > maxSentinels:
		return fmt.Errorf("a cluster has at most %d sentinels", maxSentinels)
	case len(c.Settings) > maxSettings:
		return fmt.Errorf("a cluster has at most %d settings", maxSettings)
	}
	groups := make(map[string]bool, len(c.Groups))
	for _, g := range c.Groups {
		if groups[g.Name] {
			return fmt.Errorf("group '%s' is there twice", g.Name)
		}
		groups[g.Name] = true
	}
	sentinels := make(map[Sentinel]bool, len(c.Sentinels))
	for _, s := range c.Sentinels {
		key := Sentinel{Host: canonicalHost(s.Host), Port: s.Port}
		if sentinels[key] {
			return fmt.Errorf("sentinel %s is there twice", s)
		}
		sentinels[key] = true
	}
	return nil
}

func validName(s string) bool {
	if len(s) < 1 || len(s) > maxName {
		return false
	}
	for _, b := range []byte(s) {
		alnum := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !alnum && b != '.' && b != '_' && b != '-' {
			return false
		}
	}
	return true
}

func validHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == "" && !ip.IsUnspecified() && !ip.IsMulticast()
	}
	if len(s) > maxHost || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if !validName(label) || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}

func canonicalHost(s string) string {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }
