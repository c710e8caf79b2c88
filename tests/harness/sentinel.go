package harness

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Sentinel is a real redis-sentinel.
type Sentinel struct {
	*Process
	Port     int
	ID       string // its run id, chosen here so that the others can be told at once
	Password string
	t        testing.TB
}

// sentinelPlan is what a sentinel is started with.
type sentinelPlan struct {
	port     int
	id       string
	password string
	lines    []string // monitor and known-... lines
}

func newSentinelPlan(t testing.TB, password string) sentinelPlan {
	var id [20]byte
	_, _ = rand.Read(id[:]) // never fails
	return sentinelPlan{port: Port(t), id: hex.EncodeToString(id[:]), password: password}
}

func startSentinel(t testing.TB, plan sentinelPlan) *Sentinel {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	lines := []string{
		"bind 127.0.0.1 -::1", fmt.Sprintf("port %d", plan.port), "dir " + dir, "daemonize no", "protected-mode no",
		"sentinel myid " + plan.id, "sentinel deny-scripts-reconfig yes", "sentinel resolve-hostnames yes",
	}
	if plan.password != "" {
		lines = append(lines, "requirepass "+plan.password)
	}
	lines = append(lines, plan.lines...)
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Sentinel{Port: plan.port, ID: plan.id, Password: plan.password, t: t}
	s.Process = start(t, fmt.Sprintf("redis-sentinel %d", plan.port), "redis-sentinel", conf)
	s.waitUp()
	return s
}

func (s *Sentinel) waitUp() {
	s.t.Helper()
	Eventually(s.t, Patience, s.Name+" answers", func() error {
		if s.Exited() {
			return errors.New("it has exited: " + s.log.tail(5))
		}
		_, err := s.Ask("PING")
		return err
	})
}

// Restart runs a killed sentinel again on its port, and waits until it answers.
func (s *Sentinel) Restart() {
	s.t.Helper()
	if err := s.restart(); err != nil {
		s.t.Fatal(err)
	}
	s.waitUp()
}

// Addr is the sentinel's host:port.
func (s *Sentinel) Addr() string { return Loopback(s.Port) }

// Ask sends one request on a connection of its own; an error reply is an error.
func (s *Sentinel) Ask(args ...string) (Reply, error) {
	as := &Redis{Process: s.Process, Port: s.Port, Password: s.Password, t: s.t}
	return as.Ask(args...)
}

// Must is Ask for a request that has to succeed.
func (s *Sentinel) Must(args ...string) Reply {
	s.t.Helper()
	reply, err := s.Ask(args...)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.Name, strings.Join(args, " "), err)
	}
	return reply
}

// Monitor makes a running sentinel watch one more group.
func (s *Sentinel) Monitor(g *Group, quorum int, o FleetOptions) {
	s.t.Helper()
	s.Must("SENTINEL", "MONITOR", g.Name, o.Host, fmt.Sprint(g.Master.Port), fmt.Sprint(quorum))
	s.Must("SENTINEL", "SET", g.Name, "down-after-milliseconds", fmt.Sprint(o.downAfter(g.Name).Milliseconds()))
	s.Must("SENTINEL", "SET", g.Name, "failover-timeout", fmt.Sprint(o.FailoverTimeout.Milliseconds()))
	if o.Password != "" {
		s.Must("SENTINEL", "SET", g.Name, "auth-pass", o.Password)
	}
}

// Master asks the sentinel for a group's address.
func (s *Sentinel) Master(group string) (string, error) {
	reply, err := s.Ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", group)
	if err != nil {
		return "", err
	}
	if len(reply.Elems) != 2 {
		return "", fmt.Errorf("%s knows no group %s", s.Name, group)
	}
	return net.JoinHostPort(reply.Elems[0].Str, reply.Elems[1].Str), nil
}

// settled says why the sentinel would not fail the group over well yet; nil if it would.
func (s *Sentinel) settled(g *Group, sentinels int) error {
	if _, err := s.Ask("SENTINEL", "CKQUORUM", g.Name); err != nil {
		return err
	}
	reply, err := s.Ask("SENTINEL", "MASTER", g.Name)
	if err != nil {
		return err
	}
	m := reply.Map()
	// More of them than were started for the fleet: a set that was replaced is remembered.
	if others, err := strconv.Atoi(m["num-other-sentinels"]); err != nil || others < sentinels-1 || m["num-slaves"] != fmt.Sprint(len(g.Replicas)) || m["flags"] != "master" {
		return fmt.Errorf("%s: %s: %s other sentinels, %s replicas, flags %s", s.Name, g.Name, m["num-other-sentinels"], m["num-slaves"], m["flags"])
	}
	reply, err = s.Ask("SENTINEL", "REPLICAS", g.Name)
	if err != nil {
		return err
	}
	for _, r := range reply.Rows() {
		if r["flags"] != "slave" || r["master-link-status"] != "ok" || r["info-refresh"] == "0" {
			return fmt.Errorf("%s: %s: replica %s: flags %s, link %s", s.Name, g.Name, r["port"], r["flags"], r["master-link-status"])
		}
	}
	return nil
}

// FleetOptions of a Fleet; zero fields take what is said behind them.
type FleetOptions struct {
	Groups           []string      // names; g1, g2
	Replicas         int           // per group; 1, and -1 for none
	Sentinels        int           // 3
	DownAfter        time.Duration // 5s: a busy machine must not cause a failover that no test asked for
	Steady           []string      // of the groups: down-after is ten minutes, so that nobody fails them over but by hand
	FailoverTimeout  time.Duration // 10s
	Password         string        // of masters and replicas
	SentinelPassword string
	RedisConfig      []string // further lines of each redis.conf
	SentinelConfig   []string // further lines of each sentinel.conf
	Host             string   // what sentinels and replicas call the servers' machine; 127.0.0.1, also localhost or ::1
}

func (o FleetOptions) filled() FleetOptions {
	if o.Groups == nil {
		o.Groups = []string{"g1", "g2"}
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Sentinels == 0 {
		o.Sentinels = 3
	}
	if o.DownAfter == 0 {
		o.DownAfter = 5 * time.Second
	}
	if o.FailoverTimeout == 0 {
		o.FailoverTimeout = 10 * time.Second
	}
	return o
}

func (o FleetOptions) downAfter(group string) time.Duration {
	if slices.Contains(o.Steady, group) {
		return 10 * time.Minute
	}
	return o.DownAfter
}
