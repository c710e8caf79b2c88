package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer runs a redis-server on a socket in a directory of the test's own, until the test ends.
func startServer(t *testing.T) *redis.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "cmd") // t.TempDir's names can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no")
	if err := server.Start(); err != nil {
		t.Fatalf("this test compares the table with a real redis-server: %v", err)
	}
	ended := make(chan struct{})
	go func() { server.Wait(); close(ended) }()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() {
		client.Close()
		server.Process.Kill()
		<-ended
	})
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(t.Context()).Err() != nil {
		select {
		case <-tick.C:
		case <-ended:
			t.Fatal("redis-server ended before it answered")
		case <-deadline:
			t.Fatal("redis-server does not answer")
		}
	}
	return client
}

// serverCommand is one element of COMMAND's reply.
type serverCommand struct {
	name              string
	arity             int
	flags             []string
	first, last, step int
}

func readCommands(t *testing.T, reply any, into map[string]serverCommand) {
	t.Helper()
	for _, element := range reply.([]any) {
		f := element.([]any)
		number := func(i int) int { return int(f[i].(int64)) }
		c := serverCommand{name: f[0].(string), arity: number(1), first: number(3), last: number(4), step: number(5)}
		for _, flag := range f[2].([]any) {
			c.flags = append(c.flags, flag.(string))
		}
		slices.Sort(c.flags)
		into[c.name] = c
		readCommands(t, f[9], into)
	}
}

// versionOf is the server's version: that of Redis which a Valkey says it is compatible with.
func versionOf(t *testing.T, client *redis.Client) string {
	t.Helper()
	info, err := client.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	return version
}

// decisive are the flags that the proxy acts on; versions differ in the others, which are about what a server does.
func decisive(flags []string) (found []string) {
	for _, f := range flags {
		if slices.Contains([]string{"write", "readonly", "admin", "pubsub"}, f) {
			found = append(found, f)
		}
	}
	return found
}

// later is where the table follows versions after 7.0 or has its own view (internal/gen/policy.go says which): what differs from 7.0 by intention, and how.
var later = map[string]string{
	"publish": "range", // of which the proxy takes the channel for a key
	"zrank":   "arity", "zrevrank": "arity", "command|getkeys": "arity", "command|getkeysandflags": "arity", "wait": "flags",
}

// accepts reports whether a request that the server's arity allows is one that ours does.
func accepts(ours, server int) bool {
	return ours == server || ours < 0 && max(server, -server) >= -ours
}

// TestTableAgreesWithServer compares the table with the server that is on PATH: word for word if it is the version the table was taken
// from; of another one, 7.0 or later, what decides where a request goes and whether it may go twice.
func TestTableAgreesWithServer(t *testing.T) {
	t.Parallel()
	client := startServer(t)
	reply, err := client.Do(t.Context(), "COMMAND").Result()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]serverCommand{}
	readCommands(t, reply, known)
	captured := strings.HasPrefix(versionOf(t, client), "7.0.") // the version that commands.json is of
	if len(known) < 350 {
		t.Fatalf("the server knows only %d commands", len(known))
	}
	for name, s := range known {
		container, sub, isSub := strings.Cut(name, "|")
		c := Lookup([]byte(container))
		if c != nil && isSub {
			c = c.Sub([]byte(sub))
		}
		if c == nil || c.Name != name {
			t.Errorf("%s: the table has %v", name, c)
			continue
		}
		if (c.Arity != s.arity) != (later[name] == "arity") && (captured || !accepts(c.Arity, s.arity)) {
			t.Errorf("%s: arity %d, the server's %d", name, c.Arity, s.arity)
		}
		flags := c.Flags.AppendNames(nil)
		slices.Sort(flags)
		if !captured {
			flags, s.flags = decisive(flags), decisive(s.flags)
		}
		if d := cmp.Diff(s.flags, flags); (d != "") != (captured && later[name] == "flags") {
			t.Errorf("%s: flags: %s", name, d)
		}
		ours := [3]int{c.First, c.Last, c.Step}
		theirs := [3]int{s.first, s.last, s.step}
		if differs := ours != theirs && (c.First > 0 || c.Flags&FlagMovableKeys == 0); differs != (later[name] == "range") {
			t.Errorf("%s: range %v, the server's %v", name, ours, theirs)
		}
	}
}

// getKeys asks the server for the keys of a request; refused is its error, if it has one.
func getKeys(ctx context.Context, client *redis.Client, args []string) (keys string, refused redis.Error, err error) {
	list, err := client.Do(ctx, requestOf("COMMAND GETKEYS", args)...).StringSlice()
	if errors.As(err, &refused) {
		return "", refused, nil
	}
	return strings.Join(list, " "), nil, err
}

func requestOf(prefix string, args []string) (request []any) {
	for w := range strings.FieldsSeq(prefix) {
		request = append(request, w)
	}
	for _, a := range args {
		request = append(request, a)
	}
	return request
}

// getKeysDiffers is what COMMAND GETKEYS of 7.0 says of requests ("!": an error) where it is not what the server does with them.
var getKeysDiffers = map[string]string{
	"pfmerge d":       "!", // is executed, though
	"pfmerge arg1":    "!",
	"zunionstore d 0": "!", // is refused by the command itself, wherever it is sent
	"georadius k 15 37 200 km store d1 storedist d2": "k d1 d2", // writes to the last one only
}

// isChannel tells the commands on channels that the table routes as keys.
func isChannel(name string) bool {
	return name == "publish" || strings.HasPrefix(name, "s") && strings.HasSuffix(name, "ubscribe") || name == "spublish"
}

// TestKeysAgreeWithServer compares the keys of requests with COMMAND GETKEYS: those of keyCases that the server knows, and for each command whose
// keys are a simple range a few made up. Where the table finds a request malformed, the server must refuse to execute it.
func TestKeysAgreeWithServer(t *testing.T) {
	t.Parallel()
	client := startServer(t)
	reply, err := client.Do(t.Context(), "COMMAND").Result()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]serverCommand{}
	readCommands(t, reply, known)
	sampled := map[string]bool{}
	compare := func(args []string) {
		c := find(t, args)
		sampled[c.Name] = true
		frame, spans := frameOf(args...)
		at, ok := c.Keys(nil, frame, spans)
		if !ok {
			var refused redis.Error
			if err := client.Do(t.Context(), requestOf("", args)...).Err(); !errors.As(err, &refused) {
				t.Errorf("%v: malformed, but the server answers %v", args, err)
			}
			return
		}
		if isChannel(c.Name) || len(args) < 2 { // COMMAND GETKEYS of 7.0 wants an argument
			return
		}
		var keys []string
		for _, i := range at {
			keys = append(keys, args[i])
		}
		theirs, refused, err := getKeys(t.Context(), client, args)
		if err != nil {
			t.Fatal(err)
		}
		if refused != nil && !(len(keys) == 0 && strings.Contains(refused.Error(), "no key arguments")) {
			theirs = "!"
		}
		want, differs := getKeysDiffers[strings.Join(args, " ")]
		if !differs {
			want = strings.Join(keys, " ")
		}
		if theirs != want {
			t.Errorf("%v: keys %q, the server's %q (%v)", args, keys, theirs, refused)
		}
	}
	for _, c := range keyCases {
		args := words(c.request)
		if _, ok := known[find(t, args).Name]; ok {
			compare(args)
		}
	}
	for name, s := range known {
		args := strings.Split(name, "|")
		c := find(t, args)
		if c.First == 0 {
			continue
		}
		for extra := range 2 {
			request := slices.Clone(args)
			for len(request) < max(s.arity, -s.arity)+extra*c.Step*2 {
				request = append(request, "arg"+strconv.Itoa(len(request)))
			}
			if extra == 0 || s.arity < 0 {
				compare(request)
			}
		}
	}
	for name := range known {
		if c := find(t, strings.Split(name, "|")); !sampled[name] && (c.First > 0 || c.Flags&FlagMovableKeys != 0) {
			t.Errorf("%s: no request was compared", name)
		}
	}
}
