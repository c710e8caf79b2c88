package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// beMain makes the test binary the program, so that tests run it as a process of its own.
const beMain = "RESPGATE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// proxy is the program as a process of its own.
type proxy struct {
	t    *testing.T
	dir  string // short: paths of sockets have a limit
	file string
	cmd  *exec.Cmd
	logs sync.WaitGroup // reads the log to its end

	mu  sync.Mutex
	log bytes.Buffer
}

// spawn starts the program with the file, in which %DIR stands for a directory of its own.
func spawn(t *testing.T, text string, env ...string) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "rg")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, dir: dir, file: filepath.Join(dir, "respgate.yml")}
	p.write(text)
	p.cmd = exec.Command(os.Args[0], "-c", p.file)
	p.cmd.Env = append(os.Environ(), beMain+"=1")
	for _, e := range env {
		p.cmd.Env = append(p.cmd.Env, strings.ReplaceAll(e, "%DIR", dir))
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.logs.Go(func() { _, _ = io.Copy(p, stderr) })
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			p.wait()
		}
		os.RemoveAll(dir)
	})
	return p
}

func (p *proxy) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *proxy) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *proxy) write(text string) {
	p.t.Helper()
	next := p.file + ".new"
	if err := os.WriteFile(next, []byte(strings.ReplaceAll(text, "%DIR", p.dir)), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(next, p.file); err != nil {
		p.t.Fatal(err)
	}
}

func (p *proxy) logged(text string) {
	p.t.Helper()
	until(p.t, text+"\n"+p.text(), func() bool { return strings.Contains(p.text(), text) })
}

func (p *proxy) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait gives the exit code.
func (p *proxy) wait() int {
	p.logs.Wait()
	_ = p.cmd.Wait() // the code says it all
	return p.cmd.ProcessState.ExitCode()
}

func (p *proxy) dial(socket string) *client {
	p.t.Helper()
	var conn net.Conn
	until(p.t, "connect to "+socket, func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", filepath.Join(p.dir, socket))
		return err == nil
	})
	p.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{p.t, conn, bufio.NewReader(conn)}
}

type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (c *client) send(request string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, request); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(line, "\r\n")
}

// slow is a Redis server that answers clients when it is told to.
type slow struct {
	l       net.Listener
	asked   chan struct{} // one for each read
	answers chan string
	work    sync.WaitGroup
}

func startSlow(t *testing.T) *slow {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &slow{l: l, asked: make(chan struct{}, 100), answers: make(chan string, 100)}
	s.work.Go(s.serve)
	t.Cleanup(func() {
		l.Close()
		close(s.answers)
		s.work.Wait()
	})
	return s
}

func (s *slow) serve() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.work.Go(func() {
			defer c.Close()
			for buf := make([]byte, 4096); ; {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				switch { // the proxy's own questions: at the start of a link, and to know the server's commands
				case bytes.Contains(buf[:n], []byte("INFO")):
					_, _ = io.WriteString(c, "$0\r\n\r\n")
					continue
				case bytes.Contains(buf[:n], []byte("COMMAND")):
					_, _ = io.WriteString(c, "-ERR not here\r\n")
					continue
				}
				s.asked <- struct{}{}
				answer, ok := <-s.answers
				if !ok {
					return
				}
				_, _ = io.WriteString(c, answer)
			}
		})
	}
}

func (s *slow) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.asked:
	case <-time.After(patience):
		t.Fatal("the server was not asked")
	}
}

const quiet = "admin: {listen: \"\"}\nmetrics: {listen: \"\"}\nlog: {level: debug}\npools:\n"

func servers(name, socket string, s *slow) string {
	return fmt.Sprintf("  %s: {listen: %%DIR/%s, timeout: 30s, servers: [\"%s:1 one\"]}\n", name, socket, s.l.Addr())
}

// Start, reload by SIGHUP and by the file alone, a file that is refused, and a drain in which a request gets its reply.
func TestServeReloadDrain(t *testing.T) {
	t.Parallel()
	server := startSlow(t)
	p := spawn(t, quiet+servers("cache", "a.sock", server))
	p.logged("respgate serves")
	c := p.dial("a.sock")
	c.send("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	server.wait(t)

	p.write(quiet + servers("cache", "a.sock", server) + servers("more", "b.sock", server))
	p.signal(syscall.SIGHUP)
	more := p.dial("b.sock")
	more.send("*1\r\n$4\r\nPING\r\n")
	if got := more.line(); got != "+PONG" {
		t.Errorf("the new pool: %s", got)
	}
	p.write("pools: [")
	p.logged("configuration refused")
	p.write(quiet + servers("cache", "a.sock", server))
	p.logged("pools.more: removed")

	p.signal(syscall.SIGTERM)
	p.logged("shutting down")
	until(t, "no new client", func() bool {
		conn, err := net.Dial("unix", filepath.Join(p.dir, "a.sock"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	server.answers <- "$5\r\nhello\r\n"
	if got := c.line() + c.line(); got != "$5hello" {
		t.Errorf("the reply in flight: %s", got)
	}
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.text())
	}
	if text := p.text(); !strings.Contains(text, `"stopped"`) || strings.Contains(text, "before they had all their replies") {
		t.Errorf("the end:\n%s", text)
	}
}

// A second signal does not wait for a reply that never comes; a hangup on the way changes nothing.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	server := startSlow(t)
	p := spawn(t, quiet+servers("cache", "a.sock", server))
	c := p.dial("a.sock")
	c.send("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	server.wait(t)
	p.signal(syscall.SIGTERM)
	p.logged("shutting down")
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGINT)
	start := time.Now()
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, p.text())
	}
	if took := time.Since(start); took > shutdownGrace-2*time.Second {
		t.Errorf("it took %s", took)
	}
	if !strings.Contains(p.text(), "a second signal") {
		t.Errorf("the end:\n%s", p.text())
	}
}

// A port that is taken, of a pool or of the process, ends the program with its name.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pool := "pools: {cache: {listen: %DIR/a.sock, servers: [\"127.0.0.1:1:1\"]}}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"pool":  {"admin: {listen: \"\"}\nmetrics: {listen: \"\"}\npools: {cache: {listen: " + l.Addr().String() + ", servers: [\"127.0.0.1:1:1\"]}}\n", "respgate: pool 'cache': listen on " + l.Addr().String() + ": address already in use\n"},
		"admin": {"admin: {listen: " + l.Addr().String() + "}\nmetrics: {listen: \"\"}\n" + pool, "respgate: admin port: listen tcp " + l.Addr().String() + ": bind: address already in use\n"},
		"stats": {"admin: {listen: \"\"}\nmetrics: {listen: \"\", twemproxy_stats: " + l.Addr().String() + "}\n" + pool, "respgate: twemproxy-stats port: listen tcp " + l.Addr().String() + ": bind: address already in use\n"},
	} {
		p := spawn(t, tt.text)
		if code := p.wait(); code != exitFailed || !strings.HasSuffix(p.text(), tt.want) {
			t.Errorf("%s: exit code %d\n%s", name, code, p.text())
		}
	}
}

// The service manager is told of each state (sd_notify(3)).
func TestNotify(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "rg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notify.sock")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_ = l.SetReadDeadline(time.Now().Add(patience))
	expect := func(prefix string) {
		t.Helper()
		buf := make([]byte, 256)
		n, err := l.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), prefix) {
			t.Fatalf("%q, %v, want %s", buf[:n], err, prefix)
		}
	}
	server := startSlow(t)
	p := spawn(t, quiet+servers("cache", "a.sock", server), "NOTIFY_SOCKET="+path)
	expect("READY=1")
	p.signal(syscall.SIGHUP)
	expect("RELOADING=1\nMONOTONIC_USEC=")
	expect("READY=1")
	p.signal(syscall.SIGTERM)
	expect("STOPPING=1")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
