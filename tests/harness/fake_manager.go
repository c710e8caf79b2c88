package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// FakeManager is a manager that says what it is told to. Its methods are safe for any goroutine.
type FakeManager struct {
	addr  string
	says  atomic.Pointer[string]
	cut   atomic.Bool // the connection is closed behind the answer
	asked atomic.Int64
}

// StartFakeManager starts one that says nothing yet: it closes the connection that asks.
func StartFakeManager(t testing.TB) *FakeManager {
	t.Helper()
	m := &FakeManager{}
	m.Say("")
	m.addr = Serve(t, m.serve)
	return m
}

// Addr is where proxies connect.
func (m *FakeManager) Addr() string { return m.addr }

// Say sets the answer to MANAGER, as it goes over the wire; "" closes the connection that asks.
func (m *FakeManager) Say(text string) {
	m.cut.Store(false)
	m.says.Store(&text)
}

// Cut sets an answer that ends with the connection.
func (m *FakeManager) Cut(text string) {
	m.Say(text)
	m.cut.Store(true)
}

// Asked is how often MANAGER has been asked.
func (m *FakeManager) Asked() int64 { return m.asked.Load() }

func (m *FakeManager) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		args, err := ReadRequest(r)
		if err != nil {
			return
		}
		text := "+OK\r\n"
		switch {
		case strings.EqualFold(args[0], "HELLO"):
			text = "-ERR unknown command 'HELLO'\r\n"
		case strings.EqualFold(args[0], "MANAGER"):
			m.asked.Add(1)
			if text = *m.says.Load(); text == "" {
				return
			}
		}
		if _, err := io.WriteString(c, text); err != nil || m.cut.Load() && strings.EqualFold(args[0], "MANAGER") {
			return
		}
	}
}

// Topology is a manager's answer: its version, which a lie may spell, groups and sentinels.
func Topology(version string, groups, sentinels []string) string {
	array := func(items []string) string {
		if len(items) == 0 {
			return "*0\r\n"
		}
		return Encode(items...)
	}
	pairs := fmt.Sprintf("*%d\r\n", len(sentinels))
	for _, a := range sentinels {
		host, port, _ := strings.Cut(a, ":")
		pairs += array([]string{host, port})
	}
	return "*6\r\n$7\r\nversion\r\n:" + version + "\r\n$6\r\ngroups\r\n" + array(groups) + "$9\r\nsentinels\r\n" + pairs
}
