package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

// ports hands out loopback ports below the range that the kernel picks source ports from: a port given to a server that
// is killed and restarted is then not taken by somebody's outgoing connection in between. A reservation lasts as long
// as the process; other test processes see it as an abstract unix socket (Linux), which cannot be left behind.
var ports = struct {
	sync.Mutex
	taken map[int]net.Listener
}{taken: map[int]net.Listener{}}

const lowestPort = 10240

// Port reserves a free loopback port for the life of the test process.
func Port(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	highest := firstEphemeral() - 1
	for range 4096 {
		p := lowestPort + rand.IntN(highest-lowestPort)
		if _, taken := ports.taken[p]; taken {
			continue
		}
		mark, err := reserve(p)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", Loopback(p))
		if err != nil {
			release(mark)
			continue
		}
		release(l)
		ports.taken[p] = mark
		return p
	}
	t.Fatal("no free loopback port found in 4096 tries")
	return 0
}

// listen opens a reserved port; another one if somebody outside these tests has taken it meanwhile.
func listen(t testing.TB) net.Listener {
	t.Helper()
	var err error
	for range 16 {
		var l net.Listener
		if l, err = net.Listen("tcp", Address(t)); err == nil {
			return l
		}
	}
	t.Fatal(err)
	return nil
}

// Loopback is the port's address.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Address reserves a port and gives it as host:port.
func Address(t testing.TB) string {
	t.Helper()
	return Loopback(Port(t))
}

func reserve(p int) (net.Listener, error) {
	if runtime.GOOS != "linux" {
		return nil, nil
	}
	return net.Listen("unix", "@respgate-test-port-"+strconv.Itoa(p))
}

func release(l net.Listener) {
	if l != nil {
		_ = l.Close()
	}
}

func firstEphemeral() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32768
	}
	var low int
	if _, err := fmt.Sscan(string(data), &low); err != nil || low < lowestPort+4096 {
		return 32768
	}
	return low
}
