package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"respgate/managerclient"
)

// beMain makes the test binary the program, so that tests run it as a process of its own without building it.
const beMain = "RESPGATE_MANAGER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

const example = `# the clusters
listen: %s
clusters:
  sessions:
    groups: [g1, {name: g2, weight: 2}]
    sentinels: [127.0.0.1:26379]
    settings: {hash_tag: "{}"}
`

func write(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".new"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// fixedAddr is a free address for a manager that starts again at the same one: below the ports that the system gives to outgoing connections.
func fixedAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// process is the program as a process of its own.
type process struct {
	cmd  *exec.Cmd
	addr string
	logs sync.WaitGroup // reads the log to its end
	mu   sync.Mutex
	log  bytes.Buffer
}

func spawn(t *testing.T, path string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-c", path, "-loglevel", "debug")}
	p.cmd.Env = append(os.Environ(), beMain+"=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan string, 1)
	p.logs.Go(func() { p.read(stderr, up) })
	select {
	case p.addr = <-up:
	case <-time.After(30 * time.Second):
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			p.logs.Wait()
			_ = p.cmd.Wait() // it was killed
		}
	})
	if p.addr == "" {
		t.Fatalf("the manager did not come up:\n%s", p.text())
	}
	return p
}

func (p *process) read(r io.Reader, up chan<- string) {
	defer close(up)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		p.mu.Lock()
		p.log.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		var line struct{ Msg, Listen string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "manager is up" {
			up <- line.Listen
		}
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// terminate sends SIGTERM and holds that the program ends well.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.logs.Wait()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, p.text())
	}
	if !strings.Contains(p.text(), "manager is down") {
		t.Errorf("no last word:\n%s", p.text())
	}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.logs.Wait()
	_ = p.cmd.Wait() // it was killed
}

// cli runs redis-cli against the manager.
func (p *process) cli(t *testing.T, args ...string) string {
	t.Helper()
	_, port, _ := strings.Cut(p.addr, ":")
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %v: %v\n%s", args, err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// state is what MANAGER PROXIES says of a proxy: its state and the version it has applied.
func (p *process) state(t *testing.T, proxy string) string {
	t.Helper()
	var rows []struct {
		Proxy   string `json:"proxy"`
		State   string `json:"state"`
		Applied int    `json:"applied-version"`
	}
	if err := json.Unmarshal([]byte(p.cli(t, "--json", "manager", "proxies")), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Proxy == proxy {
			return fmt.Sprint(r.State, " ", r.Applied)
		}
	}
	return "unknown"
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// proxy is a manager client that applies whatever it is given.
type proxy struct {
	*managerclient.Client
	topologies chan managerclient.Topology
}

func startProxy(t *testing.T, id, addr, dir string) *proxy {
	t.Helper()
	p := &proxy{topologies: make(chan managerclient.Topology, 100)}
	p.Client = managerclient.Start(managerclient.Config{
		Pool: "web", Cluster: "sessions", Addresses: []string{addr}, Heartbeat: 20 * time.Millisecond, Timeout: 10 * time.Second, ProxyID: id, StateDir: dir,
	}, func(topology managerclient.Topology) { p.topologies <- topology }, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) apply(t *testing.T) string {
	t.Helper()
	select {
	case topology := <-p.topologies:
		p.Applied(topology.Version)
		return fmt.Sprint(topology.Version, topology.Groups, topology.Sentinels, topology.Settings, topology.FromDisk)
	case <-time.After(30 * time.Second):
		t.Fatalf("no topology: %+v", p.Status())
	}
	return ""
}

// From the file over the wire to a proxy and back: SET, an edit by hand, kill -9 and restart of the manager, and a proxy that starts without it.
func TestManagerAndProxy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "manager.yml")
	write(t, path, fmt.Sprintf(example, fixedAddr(t)))
	m := spawn(t, path)
	state := t.TempDir()
	p := startProxy(t, "p1", m.addr, state)

	expect := func(what, want string) {
		t.Helper()
		if got := p.apply(t); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	expect("the file", "1 [{g1 1} {g2 2}] [127.0.0.1:26379] map[hash_tag:{}] false")
	until(t, "applied", func() bool { return m.state(t, "p1") == "current 1" }) // with the same fingerprint on both sides

	if got := m.cli(t, "manager", "set", "sessions", "groups", "g1", "g2:2", "g3", "sentinels", "127.0.0.1:26379", "[::1]:26380"); got != "OK 2" {
		t.Fatal(got)
	}
	expect("SET", "2 [{g1 1} {g2 2} {g3 1}] [127.0.0.1:26379 [::1]:26380] map[hash_tag:{}] false")

	write(t, path, fmt.Sprintf(example, m.addr))
	expect("an edit", "3 [{g1 1} {g2 2}] [127.0.0.1:26379] map[hash_tag:{}] false")
	until(t, "applied", func() bool { return m.state(t, "p1") == "current 3" })

	m.kill(t)
	until(t, "the loss is noticed", func() bool { return p.Status()[0].State != "connected" && p.Status()[0].Cause != "" })
	write(t, path, strings.Replace(fmt.Sprintf(example, m.addr), "g1,", "g7,", 1))
	m = spawn(t, path)
	expect("a restart", "4 [{g7 1} {g2 2}] [127.0.0.1:26379] map[hash_tag:{}] false")
	until(t, "applied", func() bool { return m.state(t, "p1") == "current 4" })

	m.terminate(t)
	p.Close()
	p = startProxy(t, "p1", m.addr, state)
	expect("the disk", "4 [{g7 1} {g2 2}] [127.0.0.1:26379] map[hash_tag:{}] true")
}

// The manager lost its versions: nothing changes on the proxies, both sides say so, and the remedy of docs/MANAGER.md works.
func TestManagerLosesVersions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "manager.yml")
	write(t, path, fmt.Sprintf(example, fixedAddr(t)))
	m := spawn(t, path)
	p := startProxy(t, "p1", m.addr, "")
	p.apply(t)
	if got := m.cli(t, "manager", "set", "sessions", "version", "57"); got != "OK 57" {
		t.Fatal(got)
	}
	p.apply(t)
	until(t, "applied", func() bool { return m.state(t, "p1") == "current 57" })
	m.kill(t)
	if err := os.Remove(path + ".versions"); err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(fmt.Sprintf(example, m.addr), "g1,", "g7,", 1))
	m = spawn(t, path)
	until(t, "refused", func() bool {
		return p.Status()[0].Rejected > 0 && strings.HasPrefix(p.Status()[0].Cause, "lower version")
	})
	if got := m.state(t, "p1"); got != "ahead 57" {
		t.Error(got)
	}
	if len(p.topologies) > 0 {
		t.Errorf("taken: %+v", <-p.topologies)
	}
	if got := m.cli(t, "manager", "set", "sessions", "version", "58"); got != "OK 58" {
		t.Fatal(got)
	}
	if got, want := p.apply(t), "58 [{g7 1} {g2 2}] [127.0.0.1:26379] map[hash_tag:{}] false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRedisCLI(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "manager.yml")
	write(t, path, fmt.Sprintf(example, "127.0.0.1:0"))
	m := spawn(t, path)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"ping"}, "PONG"},
		{[]string{"--json", "manager", "clusters"}, `[{"name":"sessions","version":1,"groups":2,"sentinels":1,"proxies":0,"applied":0}]`},
		{[]string{"--json", "manager", "get", "sessions"}, `{"version":1,"groups":["g1","g2"],"sentinels":[["127.0.0.1","26379"]],"weights":["g2",2],"hash_tag":"{}"}`},
		{[]string{"--json", "manager", "heartbeat", "sessions", "1", "p1", "applied", "1"}, `{"version":1}`},
		{[]string{"manager", "get", "nope"}, "ERR no such cluster 'nope'"},
		{[]string{"manager", "help"}, "MANAGER <subcommand> [<arg> ...]. Subcommands are:"},
	} {
		if got, _, _ := strings.Cut(m.cli(t, tt.args...), "\n"); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.args, got, tt.want)
		}
	}
	cli := exec.Command("redis-cli", "-h", "127.0.0.1", "-p", strings.Split(m.addr, ":")[1])
	cli.Stdin = strings.NewReader("help manager set\n")
	if out, err := cli.CombinedOutput(); err != nil || !strings.Contains(string(out), "GROUPS group [group ...]") {
		t.Errorf("help: %v\n%s", err, out)
	}
	m.terminate(t)
}

func TestGoRedis(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "manager.yml")
	write(t, path, "password: s3cret\n"+fmt.Sprintf(example, "127.0.0.1:0"))
	m := spawn(t, path)
	for _, proto := range []int{2, 3} {
		c := redis.NewClient(&redis.Options{Addr: m.addr, Password: "s3cret", Protocol: proto, ClientName: "test"})
		v, err := c.Do(context.Background(), "manager", "heartbeat", "sessions", "1", "p1").Result()
		if err != nil || !strings.Contains(fmt.Sprint(v), "version") {
			t.Errorf("RESP%d: %v, %v", proto, v, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(m.text(), "s3cret") {
		t.Error("the password is in the log")
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yml"), filepath.Join(dir, "bad.yml")
	write(t, good, fmt.Sprintf(example, "127.0.0.1:0"))
	write(t, bad, "listen: 7\nclusters: {a: {groups: []}}\n")
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"-version"}, 0, "respgate-manager unknown\n", ""},
		{[]string{"-t", "-c", good}, 0, good + ": ok\n", ""},
		{[]string{"-t", "-c", bad}, 1, "", bad + ":1: listen: has to be host:port\n" + bad + ":2: clusters.a: a cluster needs a group\n"},
		{[]string{"-c", bad}, 1, "", "respgate-manager: " + bad + ":1: listen: has to be host:port\n" + bad + ":2: clusters.a: a cluster needs a group\n"},
		{[]string{"-t", "-c", filepath.Join(dir, "none.yml")}, 1, "", "open " + filepath.Join(dir, "none.yml") + ": no such file or directory\n"},
		{[]string{"-t", "more"}, 2, "", "respgate-manager: unexpected argument \"more\"\n"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), tt.args, nil, &stdout, &stderr)
		if d := cmp.Diff([]any{tt.code, tt.stdout, tt.stderr}, []any{code, stdout.String(), stderr.String()}); d != "" {
			t.Errorf("%v: %s", tt.args, d)
		}
	}
	for _, arg := range []string{"-nope", "-loglevel=loud"} {
		if code := run(context.Background(), []string{arg}, nil, io.Discard, io.Discard); code != 2 {
			t.Errorf("%s: %d", arg, code)
		}
	}
}

// A port that is taken ends the program with its name; SIGHUP reads the file again.
func TestPortTakenAndHangup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "manager.yml")
	write(t, path, fmt.Sprintf(example, "127.0.0.1:0"))
	m := spawn(t, path)
	other := filepath.Join(t.TempDir(), "manager.yml")
	write(t, other, fmt.Sprintf(example, m.addr))
	var stderr bytes.Buffer
	if code := run(context.Background(), []string{"-c", other}, nil, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "listen on "+m.addr) {
		t.Errorf("%d: %s", code, stderr.String())
	}
	write(t, path, "clusters: [")
	if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "a word about the file", func() bool { return strings.Contains(m.text(), "file not taken") })
	if got := m.cli(t, "--json", "manager", "heartbeat", "sessions", "1", "p1"); got != `{"version":1}` {
		t.Error(got)
	}
	m.terminate(t)
}
