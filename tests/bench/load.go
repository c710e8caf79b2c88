package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"respgate/engine/poller"
)

// loadSpec is what the load generator does, in the words of its flags.
type loadSpec struct {
	Address  string
	Conns    int           // connections
	Pipeline int           // requests that a connection sends at once; the next ones when all are answered
	Width    int           // keys of an MGET; 0 is GET
	Prefix   string        // of the keys; a number of 12 digits follows
	Keys     int           // different numbers
	KeyFile  string        // or the keys, a line each
	Duration time.Duration // of the load
	Rate     int           // requests in a second, over all connections; 0 is as fast as the answers come
}

func (s *loadSpec) flags(f *flag.FlagSet) {
	f.StringVar(&s.Address, "addr", "", "IPv4 address and port of the proxy")
	f.IntVar(&s.Conns, "conns", 1, "connections")
	f.IntVar(&s.Pipeline, "pipeline", 1, "requests that a connection sends at once; the next ones when all are answered")
	f.IntVar(&s.Width, "mget", 0, "keys of an MGET; 0 is GET")
	f.StringVar(&s.Prefix, "prefix", "key:", "begin of the keys; a random number of 12 digits follows")
	f.IntVar(&s.Keys, "keys", 10000, "different numbers")
	f.StringVar(&s.KeyFile, "key-file", "", "or a file with the keys, a line each")
	f.DurationVar(&s.Duration, "duration", 2*time.Second, "how long")
	f.IntVar(&s.Rate, "rate", 0, "requests in a second over all connections, pipeline must be 1; 0 is as fast as the answers come")
}

// args are the flags that make this spec.
func (s loadSpec) args() []string {
	return []string{
		"-addr", s.Address, "-conns", fmt.Sprint(s.Conns), "-pipeline", fmt.Sprint(s.Pipeline), "-mget", fmt.Sprint(s.Width), "-prefix", s.Prefix,
		"-keys", fmt.Sprint(s.Keys), "-key-file", s.KeyFile, "-duration", s.Duration.String(), "-rate", fmt.Sprint(s.Rate),
	}
}

func (s loadSpec) check() error {
	if s.Conns < 1 || s.Pipeline < 1 || s.Width < 0 || s.Keys < 1 || s.Duration <= 0 || s.Rate < 0 || s.Rate > 0 && s.Pipeline > 1 {
		return errors.New("a number is out of its range")
	}
	if _, err := netip.ParseAddrPort(s.Address); err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	return nil
}

// loadResult is what the load generator prints. Times are in microseconds, from sending a request to its reply; with a
// rate, and a connection that was still waiting, from when the request was due.
type loadResult struct {
	Requests   int     `json:"requests"`   // answered
	Errors     int     `json:"errors"`     // of these, with an error
	Missing    int     `json:"missing"`    // of these, without a value
	Unanswered int     `json:"unanswered"` // and those that were due and never sent
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	Most       float64 `json:"max_us"`
}

const loadAbout = `One thread on an event loop: connects, uses each connection once, prints "ready", waits for a line on stdin, sends
for the duration, waits up to 10 s for what is unanswered, and prints a line of JSON.`

func loadMain(ctx context.Context, args []string) error {
	var spec loadSpec
	f := newFlags("load", loadAbout)
	spec.flags(f)
	if err := parse(f, args); err != nil {
		return err
	}
	if err := spec.check(); err != nil {
		return err
	}
	if err := raiseDescriptors(uint64(spec.Conns) + 64); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	l, err := newLoader(spec)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.connect(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("nobody said go: %w", err)
	}
	result, err := l.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// drainTime is how long answers are waited for after the last request.
const drainTime = 10 * time.Second

// loader is the state of a load generator. Times are nanoseconds since base.
type loader struct {
	spec    loadSpec
	keys    []string // from the file; nil is prefix and number
	poll    poller.Poller
	conns   []*loadConn
	buf     []byte
	base    time.Time
	times   histogram
	result  loadResult
	sending bool // answered connections send again
	open    int  // requests without an answer
	last    int64
}

func newLoader(spec loadSpec) (*loader, error) {
	l := &loader{spec: spec, buf: make([]byte, 256<<10), base: time.Now()}
	if spec.KeyFile != "" {
		data, err := os.ReadFile(spec.KeyFile)
		if err != nil {
			return nil, err
		}
		if l.keys = strings.Fields(string(data)); len(l.keys) == 0 {
			return nil, fmt.Errorf("%s has no keys", spec.KeyFile)
		}
	}
	var err error
	l.poll, err = poller.New()
	return l, err
}

func (l *loader) close() {
	for _, c := range l.conns {
		// A reset, so that thousands of ports do not stay in TIME_WAIT until the next run.
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(c.fd)
	}
	_ = l.poll.Close()
}

func (l *loader) now() int64 { return int64(time.Since(l.base)) }

// connect opens the connections and uses each once.
func (l *loader) connect(ctx context.Context) error {
	for range l.spec.Conns {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c, err := dialLoad(l.spec.Address)
		if err != nil {
			return fmt.Errorf("connection %d to %s: %w", len(l.conns)+1, l.spec.Address, err)
		}
		c.handle = uint64(len(l.conns))
		l.conns = append(l.conns, c)
		if err := l.poll.Add(c.fd, c.handle, poller.Readable); err != nil {
			return err
		}
		if err := l.send(c, l.now()); err != nil {
			return err
		}
		if err := l.step(ctx, 0); err != nil { // what has come meanwhile
			return err
		}
	}
	if err := l.drain(ctx); err != nil {
		return err
	}
	if l.open > 0 || l.result.Errors > 0 {
		return fmt.Errorf("the first request of %d connections: %d errors, %d without an answer", len(l.conns), l.result.Errors, l.open)
	}
	l.times, l.result = histogram{}, loadResult{}
	return nil
}

// measure runs the load.
func (l *loader) measure(ctx context.Context) (loadResult, error) {
	start := l.now()
	end := start + int64(l.spec.Duration)
	l.sending = l.spec.Rate == 0
	if l.sending {
		for _, c := range l.conns {
			if err := l.send(c, l.now()); err != nil {
				return loadResult{}, err
			}
		}
	}
	var err error
	if l.spec.Rate > 0 {
		err = l.paced(ctx, start, end)
	} else {
		for now := start; now < end && err == nil; now = l.now() {
			err = l.step(ctx, end-now)
		}
	}
	l.sending = false
	if err == nil {
		err = l.drain(ctx)
	}
	r := l.result
	r.Unanswered = l.open
	for _, c := range l.conns {
		r.Unanswered += len(c.owed)
	}
	r.Seconds = float64(max(l.last, start+1)-start) / 1e9
	r.P50, r.P99, r.Most = l.times.quantile(0.5), l.times.quantile(0.99), float64(l.times.most)
	return r, err
}

// paced sends at the rate, to the connections in turn. A connection that still waits for an answer owes its request.
func (l *loader) paced(ctx context.Context, start, end int64) error {
	interval := int64(time.Second) / int64(l.spec.Rate)
	due, turn := start, 0
	for now := start; due < end; now = l.now() {
		for ; due <= now && due < end; due += interval {
			c := l.conns[turn%len(l.conns)]
			turn++
			if c.waiting > 0 {
				c.owed = append(c.owed, due)
			} else if err := l.send(c, now); err != nil {
				return err
			}
		}
		if err := l.step(ctx, max(due-now, 0)); err != nil {
			return err
		}
	}
	return nil
}

// drain waits until everything is answered, what is owed as well, for a limited time.
func (l *loader) drain(ctx context.Context) error {
	end := l.now() + int64(drainTime)
	for now := l.now(); l.open > 0 && now < end; now = l.now() {
		if err := l.step(ctx, end-now); err != nil {
			return err
		}
	}
	return nil
}

// key appends a random key to dst.
func (l *loader) key(dst []byte) []byte {
	if l.keys != nil {
		return append(dst, l.keys[rand.IntN(len(l.keys))]...)
	}
	return appendKey(dst, l.spec.Prefix, rand.IntN(l.spec.Keys))
}

// appendKey is the prefix and a number of 12 digits, as redis-benchmark makes them.
func appendKey(dst []byte, prefix string, n int) []byte {
	dst = append(dst, prefix...)
	var digits [12]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, digits[:]...)
}
