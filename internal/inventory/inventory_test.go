package inventory

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"respgate/engine/command"
	"respgate/internal/respconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a server that says what it is told to say to the first connection, whatever it is asked, and notes what that was. It closes when
// the other end does, or at once.
func answering(t *testing.T, reply string, hangUp bool) (s Server, asked func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan []string, 1)
	go func() {
		defer close(requests)
		c, err := l.Accept()
		_ = l.Close()
		if err != nil {
			return
		}
		conn := respconn.NewServer(c, respconn.RequestLimits{})
		defer conn.Close()
		var all []string
		for {
			args, err := conn.ReadRequest()
			if err != nil {
				break
			}
			if all = append(all, strings.Join(args, " ")); args[0] != "COMMAND" {
				continue
			}
			if _, err := c.Write([]byte(reply)); err != nil || hangUp {
				break
			}
		}
		requests <- all
	}()
	t.Cleanup(func() { _ = l.Close(); <-requests })
	return Server{Network: "tcp", Addresses: []string{l.Addr().String()}}, func() []string { return <-requests }
}

const (
	// As Redis 6 has it, and as Redis 7 does.
	oldGet = "*7\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@read\r\n"
	newX   = "*10\r\n$5\r\nx.set\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n*0\r\n*1\r\n$4\r\ntips\r\n" +
		"*3\r\n" + indexed + counted + behind +
		"*1\r\n*10\r\n$9\r\nx.set|sub\r\n:2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
	indexed = "*6\r\n+flags\r\n*1\r\n+RW\r\n+begin_search\r\n*4\r\n+type\r\n+index\r\n+spec\r\n*2\r\n+index\r\n:1\r\n" +
		"+find_keys\r\n*4\r\n+type\r\n+range\r\n+spec\r\n*6\r\n+lastkey\r\n:-1\r\n+keystep\r\n:2\r\n+limit\r\n:0\r\n"
	counted = "*6\r\n+flags\r\n*0\r\n+begin_search\r\n*4\r\n+type\r\n+index\r\n+spec\r\n*2\r\n+index\r\n:2\r\n" +
		"+find_keys\r\n*4\r\n+type\r\n+keynum\r\n+spec\r\n*6\r\n+keynumidx\r\n:0\r\n+firstkey\r\n:1\r\n+keystep\r\n:1\r\n"
	behind = "*6\r\n+flags\r\n*1\r\n+INCOMPLETE\r\n+begin_search\r\n*4\r\n+type\r\n+keyword\r\n+spec\r\n*4\r\n+keyword\r\n+STORE\r\n+startfrom\r\n:-2\r\n" +
		"+find_keys\r\n*4\r\n+type\r\n+unknown\r\n+spec\r\n*0\r\n"
)

var (
	getRow = command.Row{Name: "get", Arity: 2, Flags: []string{"readonly", "fast"}, First: 1, Last: 1, Step: 1}
	xRow   = command.Row{
		Name: "x.set", Arity: -3, Flags: []string{"write"}, First: 1, Last: 1, Step: 1,
		Keys: []command.RowKeys{
			{Index: 1, LastKey: -1, KeyStep: 2},
			{Index: 2, KeyNum: true, FirstKey: 1, KeyStep: 1},
			{Unknown: true, Keyword: "STORE", StartFrom: -2, KeyStep: 1 << 30},
		},
		Subs: []command.Row{{Name: "x.set|sub", Arity: 2}},
	}
)

func TestAsk(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, user, password string
		reply                string
		asked                []string
		want                 []command.Row
	}{
		{"two versions", "", "", "*2\r\n" + oldGet + newX, []string{"COMMAND"}, []command.Row{getRow, xRow}},
		{"with a password", "", "pw", "+OK\r\n*1\r\n" + oldGet, []string{"AUTH pw", "COMMAND"}, []command.Row{getRow}},
		{"as a user", "u", "pw", "+OK\r\n*1\r\n" + oldGet, []string{"AUTH u pw", "COMMAND"}, []command.Row{getRow}},
		{"a password too many", "", "pw", "-ERR AUTH <password> called without any password configured\r\n*1\r\n" + oldGet, []string{"AUTH pw", "COMMAND"}, []command.Row{getRow}},
		{"no rows", "", "", "*6\r\n:1\r\n*0\r\n*-1\r\n$3\r\nget\r\n*5\r\n$3\r\nget\r\n:1\r\n*0\r\n:1\r\n:1\r\n*6\r\n*0\r\n:1\r\n*0\r\n:1\r\n:1\r\n:1\r\n", []string{"COMMAND"}, nil},
		{
			"numbers that are none", "", "", "*1\r\n*6\r\n$1\r\nx\r\n$1\r\n1\r\n*1\r\n*0\r\n:9223372036854775807\r\n:-9223372036854775808\r\n*0\r\n",
			[]string{"COMMAND"}, []command.Row{{Name: "x", Arity: 1 << 30, First: 1 << 30, Last: 1 << 30, Step: 1 << 30}},
		},
		{"empty", "", "", "*0\r\n", []string{"COMMAND"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, asked := answering(t, tc.reply, false)
			s.User, s.Password = tc.user, "pw"
			s.Password = s.Password[:len(tc.password)]
			s.Addresses = append([]string{closedPort(t)}, s.Addresses...) // the first does not answer
			got, err := Ask(patient(t), s)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.asked, asked()); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestRefusals: what stays as it is is told from what may pass.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reply  string
		hangUp bool
		denied bool
		text   string
	}{
		{"+OK\r\n-NOPERM this user has no permissions to run the 'command' command\r\n", false, true, "allow the user of the pool +command"},
		{"-WRONGPASS invalid username-password pair\r\n-NOAUTH Authentication required.\r\n", false, true, "AUTH: WRONGPASS invalid username-password pair: see redis_user"},
		{"+OK\r\n-ERR unknown command 'COMMAND'\r\n", false, true, "unknown command"},
		{"+OK\r\n+PONG\r\n", false, true, "with simple string, which is no table"},
		{"+OK\r\n$-1\r\n", false, true, "with bulk string, which is no table"},
		{"+OK\r\n-LOADING Redis is loading the dataset in memory\r\n", false, false, "LOADING"},
		{"+OK\r\n-BUSY a script runs\r\n", false, false, "BUSY"},
		{"-ERR max number of clients reached\r\n", true, false, "max number of clients"},
		{"+OK\r\n-ERR max number of clients reached\r\n", true, false, "max number of clients"},
		{"+OK\r\n", true, false, "EOF"},
		{"", true, false, "AUTH: EOF"},
		{"+OK\r\n*1000000000\r\n", false, true, "COMMAND: "},
		{"+OK\r\n$1000000000\r\n", false, true, "COMMAND: "},
		{"+OK\r\n" + strings.Repeat("*1\r\n", 20) + ":1\r\n", false, true, "COMMAND: "},
		{"+OK\r\n-ERR " + strings.Repeat("a\tb", 1000) + "\r\n", false, true, "..."},
	} {
		s, _ := answering(t, tc.reply, tc.hangUp)
		s.Password = "pw"
		got, err := Ask(patient(t), s)
		var denied *DeniedError
		if got != nil || err == nil || errors.As(err, &denied) != tc.denied || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%.60q: %v, %v", tc.reply, got, err)
		}
		if err != nil && (len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\r\n\t")) {
			t.Errorf("%.60q: %q", tc.reply, err)
		}
	}
	for _, s := range []Server{{Network: "tcp"}, {Network: "tcp", Addresses: []string{closedPort(t)}}, {Network: "unix", Addresses: []string{t.TempDir() + "/none"}}} {
		if _, err := Ask(patient(t), s); err == nil {
			t.Errorf("%+v answers", s)
		}
	}
}

// TestSilence: a server that says nothing, or a part, is given up.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"", "*1\r\n*7\r\n$3\r\nge"} {
		s, _ := answering(t, reply, false)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := Ask(ctx, s)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q: %v", reply, err)
		}
	}
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// closedPort is an address that refuses connections: taken, and not listened on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
