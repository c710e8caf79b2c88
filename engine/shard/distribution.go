package shard

import (
	"fmt"
	"strings"
)

// Distribution says how a hash finds its node. The zero value is twemproxy's default, Ketama.
type Distribution uint8

// The distributions, as the pool key `distribution` names them.
const (
	Ketama Distribution = iota // ketama: consistent hashing, 160 points for each node at equal weights
	Modula                     // modula: hash modulo the sum of the weights, over the nodes in sorted order
	Random                     // random: any node that is not ejected, whatever the key and the weights
)

var distributionNames = [...]string{Ketama: "ketama", Modula: "modula", Random: "random"}

// Distributions returns the names of all distributions; the default comes first.
func Distributions() []string { return append([]string(nil), distributionNames[:]...) }

// ParseDistribution returns the distribution with twemproxy's name for it, matched exactly.
func ParseDistribution(name string) (Distribution, error) {
	for i, known := range distributionNames {
		if name == known {
			return Distribution(i), nil
		}
	}
	return 0, fmt.Errorf("unknown distribution %q: use one of %s", name, strings.Join(distributionNames[:], ", "))
}

// String returns twemproxy's name of the distribution.
func (d Distribution) String() string {
	if int(d) < len(distributionNames) {
		return distributionNames[d]
	}
	return fmt.Sprintf("distribution(%d)", uint8(d))
}
