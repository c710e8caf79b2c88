package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// server is a redis-server without persistence.
type server struct {
	*process
	port int
}

func (s *server) address() string { return loopback(s.port) }

// startServers starts redis-servers on the ports, or on free ones where a port is 0.
func (f *fleet) startServers(ctx context.Context, cpus string, ports ...int) ([]*server, error) {
	var servers []*server
	for i, port := range ports {
		if port == 0 {
			var err error
			if port, err = freePort(); err != nil {
				return nil, err
			}
		} else if l, err := net.Listen("tcp", loopback(port)); err != nil {
			return nil, fmt.Errorf("port %d for redis-server: %w", port, err)
		} else {
			l.Close()
		}
		p, err := f.start(command{name: fmt.Sprintf("redis-server-%d", i+1), cpus: cpus, argv: []string{
			"redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", f.dir,
			"--maxclients", "15000", "--tcp-backlog", "4096",
		}})
		if err != nil {
			return nil, err
		}
		if err := p.accepts(ctx, port); err != nil {
			return nil, err
		}
		servers = append(servers, &server{process: p, port: port})
	}
	return servers, nil
}

func processesOf(servers []*server) []*process {
	list := make([]*process, len(servers))
	for i, s := range servers {
		list[i] = s.process
	}
	return list
}

// seed sets count keys, each the prefix and a number of 12 digits, to values of the size, over one connection.
func seed(ctx context.Context, address, prefix string, count, size int) error {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	value := bytes.Repeat([]byte("x"), size)
	batch := max(1, min(1000, (1<<20)/(size+64)))
	var in replies
	var out, key []byte
	buf := make([]byte, 64<<10)
	for i := 0; i < count; i += batch {
		out = out[:0]
		open := min(batch, count-i)
		for n := i; n < i+open; n++ {
			key = appendKey(key[:0], prefix, n)
			out = appendCommand(out, []byte("SET"), key, value)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write(out); err != nil {
			return fmt.Errorf("seed %s: %w", address, err)
		}
		refused := false
		for open > 0 {
			n, err := c.Read(buf)
			if err != nil {
				return fmt.Errorf("seed %s: %w", address, err)
			}
			if err := in.feed(buf[:n], func(o outcome) { open--; refused = refused || o.refused }); err != nil {
				return err
			}
		}
		if refused {
			return fmt.Errorf("seed %s: SET was answered with an error", address)
		}
	}
	return nil
}

// ask sends one request on a connection of its own and returns the reply as it came.
func ask(ctx context.Context, address string, timeout time.Duration, words ...string) (string, error) {
	c, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	list := make([][]byte, len(words))
	for i, w := range words {
		list[i] = []byte(w)
	}
	if _, err := c.Write(appendCommand(nil, list...)); err != nil {
		return "", err
	}
	var in replies
	var reply []byte
	complete, refused := false, false
	buf := make([]byte, 64<<10)
	for !complete {
		n, err := c.Read(buf)
		if err != nil {
			return "", err
		}
		reply = append(reply, buf[:n]...)
		if err := in.feed(buf[:n], func(o outcome) { complete, refused = true, o.refused }); err != nil {
			return "", err
		}
	}
	if refused {
		return "", errors.New(strings.TrimSpace(string(reply)))
	}
	return string(reply), nil
}

// keysOf lists the keys of a server that begin with the prefix.
func keysOf(ctx context.Context, s *server, prefix string) ([]string, error) {
	reply, err := ask(ctx, s.address(), 10*time.Second, "KEYS", prefix+"*")
	if err != nil {
		return nil, fmt.Errorf("KEYS of %s: %w", s.name, err)
	}
	var keys []string
	for line := range strings.Lines(reply) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, prefix) {
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no keys", s.name)
	}
	return keys, nil
}
