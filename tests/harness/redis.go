package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisOptions of a server; the zero value is a master without a password.
type RedisOptions struct {
	ReplicaOf *Redis
	Password  string   // requirepass and masterauth
	Config    []string // further lines of redis.conf
	Host      string   // what a replica calls its master's machine, and itself to others; 127.0.0.1
}

// Redis is a real redis-server. It keeps nothing on disk but its configuration, which Sentinel rewrites: a server that
// is killed and restarted comes back with the role it had, and empty.
type Redis struct {
	*Process
	Port     int
	Password string
	t        testing.TB
}

// StartRedis starts a server and waits until it answers.
func StartRedis(t testing.TB, o RedisOptions) *Redis {
	t.Helper()
	for {
		r := launchRedis(t, o)
		if err := r.up(); err == nil {
			return r
		} else if !strings.Contains(r.Log(), "Address already in use") {
			t.Fatal(err)
		}
	}
}

func launchRedis(t testing.TB, o RedisOptions) *Redis {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "redis.conf")
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	port := Port(t)
	lines := []string{
		"bind 127.0.0.1 -::1", fmt.Sprintf("port %d", port), "dir " + dir, "daemonize no", "save \"\"", "appendonly no",
		// A diskless transfer sends what is written only from the replica's next acknowledgement on, up to a second later.
		"repl-diskless-sync no", "repl-ping-replica-period 1",
	}
	if ServerHas7(t) { // before, nobody was kept from it
		lines = append(lines, "enable-debug-command yes")
	}
	if o.Password != "" {
		lines = append(lines, "requirepass "+o.Password, "masterauth "+o.Password)
	}
	if o.ReplicaOf != nil {
		lines = append(lines, fmt.Sprintf("replicaof %s %d", o.Host, o.ReplicaOf.Port))
	}
	if o.Host != "127.0.0.1" {
		lines = append(lines, "replica-announce-ip "+o.Host)
	}
	lines = append(lines, o.Config...)
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Redis{Port: port, Password: o.Password, t: t}
	r.Process = start(t, fmt.Sprintf("redis-server %d", port), "redis-server", conf)
	return r
}

// up waits until the server answers; an error if it has exited instead.
func (r *Redis) up() error {
	gone := false
	err := Poll(Patience, func() error {
		if gone = r.Exited(); gone {
			return nil
		}
		_, err := r.Ask("PING")
		return err
	})
	if gone {
		err = errors.New("it has exited: " + r.log.tail(5))
	}
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", r.Name, err)
	}
	return nil
}

// Restart runs a killed server again on its port, and waits until it answers.
func (r *Redis) Restart() {
	r.t.Helper()
	if err := errors.Join(r.restart(), r.up()); err != nil {
		r.t.Fatal(err)
	}
}

// Addr is the server's host:port.
func (r *Redis) Addr() string { return Loopback(r.Port) }

// Ask sends one request on a connection of its own; an error reply is an error. A frozen server accepts and is silent: callers poll.
func (r *Redis) Ask(args ...string) (Reply, error) { return r.ask(5*time.Second, args...) }

func (r *Redis) ask(within time.Duration, args ...string) (Reply, error) {
	c, err := Dial(r.Addr())
	if err != nil {
		return Reply{}, err
	}
	defer c.Close()
	c.Timeout = within
	if r.Password != "" {
		if reply, err := c.Do("AUTH", r.Password); err != nil || reply.Err() != nil {
			return reply, errors.Join(err, reply.Err())
		}
	}
	reply, err := c.Do(args...)
	if err != nil {
		return reply, err
	}
	return reply, reply.Err()
}

// Must is Ask for a request that has to succeed.
func (r *Redis) Must(args ...string) Reply {
	r.t.Helper()
	reply, err := r.ask(Patience, args...)
	if err != nil {
		r.t.Fatalf("%s: %s: %v", r.Name, args[0], err)
	}
	return reply
}

// Calls counts how often the server has executed a command, by INFO commandstats; a subcommand is "client|pause", from 7.0 on.
func (r *Redis) Calls(command string) (int, error) {
	reply, err := r.Ask("INFO", "commandstats")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(reply.Str) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			n, _, _ := strings.Cut(rest, ",")
			return strconv.Atoi(n)
		}
	}
	return 0, nil
}

// Role is the first word of ROLE: master, slave or sentinel.
func (r *Redis) Role() (string, error) {
	reply, err := r.Ask("ROLE")
	if err != nil {
		return "", err
	}
	if len(reply.Elems) == 0 {
		return "", fmt.Errorf("%s: ROLE: %s", r.Name, reply.Text())
	}
	return reply.Elems[0].Str, nil
}

// Client is a go-redis client of the address that never tries twice and never waits longer than a test may.
// It is closed when the test ends.
func Client(t testing.TB, addr string, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{
		Addr: addr, MaxRetries: -1, DialTimeout: Patience, ReadTimeout: Patience, WriteTimeout: Patience, PoolTimeout: Patience,
	}
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
