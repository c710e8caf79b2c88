package failover

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// nameServer is a DNS server that knows what a test tells it, and nothing else.
type nameServer struct {
	conn net.PacketConn
	wg   sync.WaitGroup

	mu    sync.Mutex
	hosts map[string][]netip.Addr
	mute  bool
	asked int
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, hosts: map[string][]netip.Addr{}}
	s.wg.Go(s.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		s.wg.Wait()
	})
	return s
}

func (s *nameServer) addr() string { return s.conn.LocalAddr().String() }

// know sets the addresses of a name; none is a name that does not exist.
func (s *nameServer) know(name string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[name] = nil
	for _, a := range addrs {
		s.hosts[name] = append(s.hosts[name], netip.MustParseAddr(a))
	}
}

// silence makes it answer nothing any more.
func (s *nameServer) silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = on
}

// questions counts them.
func (s *nameServer) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *nameServer) serve() {
	buf := make([]byte, 1024)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := s.answer(buf[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from) // who asks will ask again
		}
	}
}

// answer makes a reply of a question (RFC 1035, section 4): header, the question again, and the addresses.
func (s *nameServer) answer(query []byte) []byte {
	const header, typeA, typeAAAA, noSuchName = 12, 1, 28, 3
	var labels []string
	i := header
	for i < len(query) && query[i] != 0 {
		end := i + 1 + int(query[i])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[i+1:end]))
		i = end
	}
	end := i + 5 // the empty label, type and class
	if len(query) < header || end > len(query) {
		return nil
	}
	s.mu.Lock()
	s.asked++
	mute, addrs := s.mute, s.hosts[strings.ToLower(strings.Join(labels, "."))]
	s.mu.Unlock()
	if mute {
		return nil
	}
	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x81, 0x80 // a response, recursion desired and available
	if len(addrs) == 0 {
		reply[3] |= noSuchName
	}
	clear(reply[6:header]) // no other records
	count := uint16(0)
	for _, a := range addrs {
		kind := uint16(typeAAAA)
		if a.Is4() {
			kind = typeA
		}
		if kind != binary.BigEndian.Uint16(query[i+1:]) {
			continue
		}
		count++
		reply = append(reply, 0xc0, header) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = append(reply, 0, 1, 0, 0, 0, 0) // class, time to live
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(a.AsSlice())))
		reply = append(reply, a.AsSlice()...)
	}
	binary.BigEndian.PutUint16(reply[6:], count)
	return reply
}
