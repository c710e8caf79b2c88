package engine

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// packets is a pair of descriptors that keep the bounds of each write.
func packets(t *testing.T) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]) })
	return fds[0], fds[1]
}

// writes are what was written to a descriptor since the last call, one by one.
func writes(t *testing.T, fd int) (all []string) {
	t.Helper()
	b := make([]byte, 256<<10)
	for {
		n, err := unix.Read(fd, b)
		if err == unix.EAGAIN {
			return all
		}
		if n <= 0 || err != nil {
			t.Fatalf("read: %d, %v", n, err)
		}
		all = append(all, string(b[:n]))
	}
}

// TestOneWriteEach: what a loop has for a descriptor in one turn leaves in one write, whatever it is made of: that is
// how few wake-ups here and at the servers do for many requests.
func TestOneWriteEach(t *testing.T) {
	d := newDriven(t, 2, nil)
	d.up()
	d.servers = nil // the test answers itself
	l, p := d.l, d.l.pools["p"]
	var servers [2]int
	for i, g := range p.groups {
		k := g.servers[0].links[0]
		near, far := packets(t)
		if err := l.poll.Delete(k.fd); err != nil {
			t.Fatal(err)
		}
		closeFD(k.fd)
		k.fd = far
		if err := l.poll.Add(k.fd, k.handle, k.wants); err != nil {
			t.Fatal(err)
		}
		servers[i] = near
	}
	keys := [2]string{}
	for i := range 100 {
		k := "key:" + strings.Repeat("x", i)
		keys[p.route([]byte(k))] = k
	}
	get := [2]string{req("GET", keys[0]), req("GET", keys[1])}
	set := req("SET", keys[1], strings.Repeat("v", 5000)) // by reference
	mget := req("MGET", keys[0], keys[1])
	pipeline := strings.Repeat(get[0]+get[1], 20) + set + mget + req("PING") + req("NOSUCH") + get[0]
	const clients = 5
	var apps [clients]int
	for i := range apps {
		near, far := packets(t)
		apps[i] = near
		d.e.clients.Add(1)
		l.openClient(far, p, d.e.lastClient.Add(1))
		d.send(near, pipeline)
	}
	d.step()
	for i, fd := range servers {
		got := writes(t, fd)
		if len(got) != 1 {
			t.Fatalf("the requests of %d clients left for server %d in %d writes", clients, i, len(got))
		}
		want := strings.Repeat(get[i], 20)
		if i == 0 {
			want += req("MGET", keys[0]) + get[0]
		} else {
			want += set + req("MGET", keys[1])
		}
		if got[0] != strings.Repeat(want, clients) {
			t.Errorf("server %d got %q", i, clip(got[0], 1000))
		}
	}
	for i, fd := range apps {
		if got := writes(t, fd); len(got) != 0 {
			t.Errorf("client %d was written %d replies before its first is there", i, len(got))
		}
	}
	// Server 1 first: its replies wait for those of server 0.
	value := bulk("v")
	d.send(servers[1], strings.Repeat(strings.Repeat(value, 20)+"+OK\r\n"+array(value), clients))
	d.step()
	for i, fd := range apps {
		if got := writes(t, fd); len(got) != 0 {
			t.Errorf("client %d was written %q out of turn", i, got)
		}
	}
	d.send(servers[0], strings.Repeat(strings.Repeat(value, 20)+array(value)+value, clients))
	d.step()
	for i, fd := range apps {
		got := writes(t, fd)
		if len(got) != 1 {
			t.Fatalf("the replies for client %d left in %d writes", i, len(got))
		}
		want := strings.Repeat(value, 40) + "+OK\r\n" + array(value, value) + "+PONG\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n" + value
		if got[0] != want {
			t.Errorf("client %d: %q, want %q", i, got[0], want)
		}
	}
	for i := range 2 {
		d.step()
		if n := len(writes(t, servers[i])); n != 0 {
			t.Errorf("%d more writes to server %d", n, i)
		}
	}
}
