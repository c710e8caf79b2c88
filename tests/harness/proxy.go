package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Proxy is a running bin/respgate.
type Proxy struct {
	*Process
	File   string // its configuration
	Config *Config
	t      testing.TB
}

// StartProxy starts the proxy with the configuration and waits until its admin port answers.
func StartProxy(t testing.TB, c *Config) *Proxy {
	t.Helper()
	return StartProxyText(t, c, c.String())
}

// StartProxyText does the same with a file that the configuration does not say all of.
func StartProxyText(t testing.TB, c *Config, text string) *Proxy {
	t.Helper()
	return startProxy(t, c, text, Program(t, "respgate"))
}

// StartProxyWithFiles starts one that may have so many descriptors.
func StartProxyWithFiles(t testing.TB, c *Config, files int) *Proxy {
	t.Helper()
	return startProxy(t, c, c.String(), "/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), Program(t, "respgate"))
}

func startProxy(t testing.TB, c *Config, text string, program ...string) *Proxy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "respgate.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Proxy{File: file, Config: c, t: t}
	p.Process = start(t, "respgate", append(program, "-c", file)...)
	t.Cleanup(p.leave)
	p.waitAdmin()
	return p
}

// leave ends the proxy as an init system would.
func (p *Proxy) leave() {
	if p.Exited() {
		return // the test has ended it
	}
	p.Thaw()
	if code, err := p.Terminate(Patience); err != nil || code != 0 {
		p.t.Errorf("respgate at SIGTERM: exit code %d, %v", code, err)
		p.Signal(syscall.SIGQUIT) // upon which it says what it does
		p.waitFor(5 * time.Second)
	}
}

func (p *Proxy) waitAdmin() {
	p.t.Helper()
	Eventually(p.t, Patience, "the admin port answers", func() error {
		if p.Exited() {
			return errors.New("the proxy has exited: " + p.log.tail(20))
		}
		r, err := Ask(p.Config.Admin, "PING")
		if err != nil || strings.HasPrefix(r.Str, "NOAUTH") {
			return err
		}
		return r.Err()
	})
}

// Restart runs a proxy that has gone again, with its file as it is now.
func (p *Proxy) Restart() {
	p.t.Helper()
	if err := p.restart(); err != nil {
		p.t.Fatal(err)
	}
	p.waitAdmin()
}

// Admin sends one command to the admin port.
func (p *Proxy) Admin(args ...string) Reply {
	p.t.Helper()
	c, err := Dial(p.Config.Admin)
	if err != nil {
		p.t.Fatalf("admin port: %v", err)
	}
	defer c.Close()
	r, err := c.Do(args...)
	if err != nil {
		p.t.Fatalf("admin %s: %v", strings.Join(args, " "), err)
	}
	return r
}

// Rows sends a command whose reply is a list of maps.
func (p *Proxy) Rows(args ...string) []map[string]string {
	p.t.Helper()
	r := p.Admin(args...)
	if err := r.Err(); err != nil {
		p.t.Fatalf("admin %s: %v", strings.Join(args, " "), err)
	}
	return r.Rows()
}

// Pool is the pool's row of PROXY POOLS.
func (p *Proxy) Pool(name string) map[string]string {
	p.t.Helper()
	rows := p.Rows("PROXY", "POOLS", name)
	if len(rows) != 1 {
		p.t.Fatalf("PROXY POOLS %s: %d rows", name, len(rows))
	}
	return rows[0]
}

// Master is the group's row of PROXY MASTERS.
func (p *Proxy) Master(pool, group string) map[string]string {
	p.t.Helper()
	rows := p.Rows("PROXY", "MASTERS", pool, group)
	if len(rows) != 1 {
		p.t.Fatalf("PROXY MASTERS %s %s: %d rows", pool, group, len(rows))
	}
	return rows[0]
}

// WaitWatching waits until the pool's links to all its sentinels are up. Until then a failover that one of them leads
// may be heard of only when it is over.
func (p *Proxy) WaitWatching(pool string) {
	p.t.Helper()
	Eventually(p.t, Patience, "all sentinels are watched", func() error {
		rows := p.Rows("PROXY", "SENTINELS", pool)
		for _, row := range rows {
			if row["state"] != "watching" {
				return fmt.Errorf("%s is %s: %s", row["address"], row["state"], row["cause"])
			}
		}
		if len(rows) == 0 {
			return errors.New("there are none")
		}
		return nil
	})
}

// Route gives the group of each key of a pool, as PROXY ROUTE says.
func (p *Proxy) Route(pool string) func(keys []string) []string {
	return func(keys []string) []string {
		p.t.Helper()
		rows := p.Rows(append([]string{"PROXY", "ROUTE", pool}, keys...)...)
		if len(rows) != len(keys) {
			p.t.Fatalf("PROXY ROUTE: %d rows for %d keys", len(rows), len(keys))
		}
		groups := make([]string, len(keys))
		for i, row := range rows {
			groups[i] = row["group"]
		}
		return groups
	}
}

// Load starts a ledger on a pool of a fleet.
func (p *Proxy) Load(pool string, f *Fleet, change ...func(*LedgerOptions)) *Ledger {
	p.t.Helper()
	o := LedgerOptions{Addr: p.Config.Addr(pool), Groups: f.GroupNames(), Route: p.Route(pool)}
	for _, c := range change {
		c(&o)
	}
	return StartLedger(p.t, o)
}

// ActiveSentinel is the address of the pool's active sentinel, "" if there is none.
func (p *Proxy) ActiveSentinel(pool string) string {
	p.t.Helper()
	for _, row := range p.Rows("PROXY", "SENTINELS", pool) {
		if row["active"] == "1" {
			return row["address"]
		}
	}
	return ""
}

// WaitPool waits until the pool is in the state.
func (p *Proxy) WaitPool(name, state string) {
	p.t.Helper()
	Eventually(p.t, Patience, "pool "+name+" is "+state, func() error {
		r, err := Ask(p.Config.Admin, "PROXY", "POOLS", name)
		if err != nil {
			return err
		}
		rows := r.Rows()
		if r.Err() != nil || len(rows) != 1 {
			return fmt.Errorf("%s", r.Text())
		}
		if rows[0]["state"] != state {
			return fmt.Errorf("it is %s: %s", rows[0]["state"], rows[0]["cause"])
		}
		return nil
	})
}

// WaitUp waits until the pools serve.
func (p *Proxy) WaitUp(pools ...string) {
	p.t.Helper()
	for _, name := range pools {
		p.WaitPool(name, "up")
	}
}

// WaitMaster waits until the console shows the address as the group's verified master.
func (p *Proxy) WaitMaster(pool, group, addr string) {
	p.t.Helper()
	Eventually(p.t, Patience, fmt.Sprintf("%s of pool %s is served by %s", group, pool, addr), func() error {
		m := p.Master(pool, group)
		if m["master"] != addr || m["state"] != "up" {
			return fmt.Errorf("it is %s, %s: %s", m["master"], m["state"], m["cause"])
		}
		return nil
	})
}

// Write replaces the configuration file the way editors do: a new file, renamed over the old one.
func (p *Proxy) Write(text string) {
	p.t.Helper()
	tmp := p.File + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(tmp, p.File); err != nil {
		p.t.Fatal(err)
	}
}

// WaitLog waits until the log has the text.
func (p *Proxy) WaitLog(text string) {
	p.t.Helper()
	Eventually(p.t, Patience, fmt.Sprintf("%q in the log", text), func() error {
		if !strings.Contains(p.Log(), text) {
			return errors.New("not yet")
		}
		return nil
	})
}

// HTTP gets a path of the metrics port.
func (p *Proxy) HTTP(path string) (status int, body string, err error) {
	c := http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + p.Config.Metrics + path)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(data), errors.Join(err, resp.Body.Close())
}

// Metric reads one unlabelled metric.
func (p *Proxy) Metric(name string) (float64, error) {
	status, body, err := p.HTTP("/metrics")
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("/metrics: status %d", status)
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("/metrics has no %s", name)
}

// Usage is what a proxy must give back after a load or an attack.
type Usage struct {
	FDs        int
	Goroutines int
}

// Usage counts descriptors and goroutines now.
func (p *Proxy) Usage() (Usage, error) {
	fds, err := p.FDs()
	if err != nil {
		return Usage{}, err
	}
	g, err := p.Metric("go_goroutines")
	return Usage{FDs: fds, Goroutines: int(g)}, err
}

// Baseline is Usage of an idle proxy: taken when two in a row are the same.
func (p *Proxy) Baseline() Usage {
	p.t.Helper()
	var last Usage
	Eventually(p.t, Patience, "the proxy comes to rest", func() error {
		now, err := p.Usage()
		if err != nil {
			return err
		}
		if now != last {
			last = now
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	return last
}

// WaitBaseline waits until nothing more than before is in use.
func (p *Proxy) WaitBaseline(before Usage) {
	p.t.Helper()
	Eventually(p.t, Patience, "descriptors and goroutines are back", func() error {
		now, err := p.Usage()
		if err != nil {
			return err
		}
		if now.FDs > before.FDs || now.Goroutines > before.Goroutines {
			return fmt.Errorf("%+v, before %+v", now, before)
		}
		return nil
	})
}
