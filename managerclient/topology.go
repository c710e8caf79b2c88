package managerclient

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The caps of one topology; an answer over any of them is refused whole.
const (
	MaxGroups    = 1024
	MaxSentinels = 64
	MaxSettings  = 64
	MaxWeight    = 1000 // modula lays a point for each unit of weight
	maxName      = 64   // bytes
	maxHost      = 253  // bytes, as DNS has it
	maxSetting   = 256  // bytes of a setting's value
)

// Group is a group of a pool: its name is the master's name on the sentinels.
type Group struct {
	Name   string
	Weight int // 1 to MaxWeight
}

// Topology is what a manager says of a cluster. It was validated whole; whoever holds one does not change it.
type Topology struct {
	Version   uint64 // 1 and up; it rises whenever the content changes
	Groups    []Group
	Sentinels []string          // host:port, IPv6 in brackets
	Settings  map[string]string // optional settings of the cluster, nil without any
	FromDisk  bool              // the last good answer, kept over a restart
	Manager   string            // address of the manager it came from
}

// SameContent says that two topologies differ in nothing but the version and where they came from.
func (t Topology) SameContent(o Topology) bool {
	return slices.Equal(t.Groups, o.Groups) && slices.Equal(t.Sentinels, o.Sentinels) && maps.Equal(t.Settings, o.Settings)
}

// Fingerprint is 16 hex digits of a SHA-256 over the content; docs/MANAGER.md gives the text that is hashed. A manager that computes it, too, notices a
// proxy that holds other content under the same version.
func (t Topology) Fingerprint() string {
	var b strings.Builder
	b.WriteString("groups\n")
	for _, g := range t.Groups {
		fmt.Fprintf(&b, "%s %d\n", g.Name, g.Weight)
	}
	b.WriteString("sentinels\n")
	for _, s := range t.Sentinels {
		fmt.Fprintf(&b, "%s\n", s)
	}
	b.WriteString("settings\n")
	for _, name := range slices.Sorted(maps.Keys(t.Settings)) {
		fmt.Fprintf(&b, "%s %s\n", name, t.Settings[name])
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// validate holds every rule of docs/MANAGER.md about the content of an answer; the wire and the file on disk go through it alike.
func (t Topology) validate() error {
	if t.Version < 1 || t.Version > maxVersion {
		return fmt.Errorf("version %d is out of range", t.Version)
	}
	if err := validateGroups(t.Groups); err != nil {
		return err
	}
	if err := validateSentinels(t.Sentinels); err != nil {
		return err
	}
	return validateSettings(t.Settings)
}

func validateGroups(groups []Group) error {
	if len(groups) == 0 {
		return fmt.Errorf("no groups")
	}
	if len(groups) > MaxGroups {
		return fmt.Errorf("%d groups, at most %d are allowed", len(groups), MaxGroups)
	}
	seen := make(map[string]bool, len(groups))
	for i, g := range groups {
		switch {
		case !validName(g.Name):
			return fmt.Errorf("group %d has an invalid name", i+1)
		case seen[g.Name]:
			return fmt.Errorf("group '%s' is there twice", g.Name)
		case g.Weight < 1 || g.Weight > MaxWeight:
			return fmt.Errorf("group '%s' has weight %d, 1 to %d are allowed", g.Name, g.Weight, MaxWeight)
		}
		seen[g.Name] = true
	}
	return nil
}

func validateSentinels(sentinels []string) error {
	if len(sentinels) == 0 {
		return fmt.Errorf("no sentinels")
	}
	if len(sentinels) > MaxSentinels {
		return fmt.Errorf("%d sentinels, at most %d are allowed", len(sentinels), MaxSentinels)
	}
	seen := make(map[string]bool, len(sentinels))
	for i, s := range sentinels {
		host, port, err := net.SplitHostPort(s)
		if err != nil || !validHost(host) || !validPort(port) {
			return fmt.Errorf("sentinel %d has an invalid host or port", i+1)
		}
		key := canonicalHost(host) + " " + port
		if seen[key] {
			return fmt.Errorf("sentinel %s is there twice", s)
		}
		seen[key] = true
	}
	return nil
}

func validateSettings(settings map[string]string) error {
	if len(settings) > MaxSettings {
		return fmt.Errorf("%d settings, at most %d are allowed", len(settings), MaxSettings)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !validName(name) || reserved(name) {
			return fmt.Errorf("a setting has an invalid name")
		}
		if !validSetting(settings[name]) {
			return fmt.Errorf("setting '%s' is longer than %d bytes or has unprintable ones", name, maxSetting)
		}
	}
	return nil
}

// validName holds for the names of groups, clusters and settings.
func validName(s string) bool {
	return len(s) >= 1 && len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) < 0
}

// validHost takes an IPv4 or IPv6 address without a zone, or a host name.
func validHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == "" && !ip.IsUnspecified() && !ip.IsMulticast()
	}
	if len(s) < 1 || len(s) > maxHost || strings.Trim(s, "0123456789.") == "" { // 300.1.1.1 is no name
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if !validName(label) || len(label) > 63 || strings.Contains(label, ".") || label[0] == '-' || label[len(label)-1] == '-' {
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

// validPort takes 1 to 65535 in its only spelling.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

func validSetting(s string) bool {
	return len(s) <= maxSetting && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
