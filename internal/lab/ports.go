package lab

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
)

// Where the search for free ports begins. Not Redis' own 6379 and 26379: Debian starts servers there.
const (
	firstServer   = 7001
	firstSentinel = 7011
	managerPort   = 7078
	adminPort     = 7079
	labPort       = 6401 // pool lab
	cachePort     = 6402 // pool cache
	metricsPort   = 9179
)

// portsTried is how far the search goes.
const portsTried = 1000

// ports gives out free loopback ports, none of them twice.
type ports struct {
	taken map[int]bool
	marks []net.Listener
}

// next is the first free port from the given one on.
func (p *ports) next(from int) (int, error) {
	for port := from; port < from+portsTried; port++ {
		if p.taken[port] || !free(port) {
			continue
		}
		mark, err := reserve(port)
		if err != nil {
			continue // of another lab that is about to start
		}
		if mark != nil {
			p.marks = append(p.marks, mark)
		}
		if p.taken == nil {
			p.taken = map[int]bool{}
		}
		p.taken[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free loopback port from %d to %d", from, from+portsTried-1)
}

func (p *ports) release() {
	for _, m := range p.marks {
		_ = m.Close()
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// reserve marks a port for as long as the lab runs, so that a second lab does not take it before, or while, the process it
// is for is down. Linux forgets an abstract socket with its process; elsewhere there is no mark.
func reserve(port int) (net.Listener, error) {
	if runtime.GOOS != "linux" {
		return nil, nil
	}
	return net.Listen("unix", "@respgate-lab-port-"+strconv.Itoa(port))
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
