package sentinelclient

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRealNodes asks real nodes of every kind for their role.
func TestRealNodes(t *testing.T) {
	t.Parallel()
	plain := func(int) string { return "save \"\"\n" }
	master := startServer(t, "redis-server", plain)
	replica := startServer(t, "redis-server", func(int) string {
		return fmt.Sprintf("save \"\"\nreplicaof 127.0.0.1 %d\n", master.addr.Port)
	})
	guarded := startServer(t, "redis-server", func(int) string {
		return "save \"\"\nuser default off\n" +
			"user full on >pw ~* &* +@all\n" +
			"user norole on >pw ~* &* +ping +info\n" +
			"user noinfo on >pw ~* &* +ping +role\n" +
			"user nothing on >pw ~* &* +ping\n"
	})
	busy := startServer(t, "redis-server", func(int) string { return "save \"\"\nlua-time-limit 1\n" })
	sentinel := startServer(t, "redis-sentinel", func(int) string { return "" })
	closed := Address{"127.0.0.1", freePort(t)}
	silent := startFake(t, until)

	var blocked = make(chan struct{})
	go func() {
		defer close(blocked)
		_, _ = busy.do("EVAL", "while true do end", "0") // ends by kill
	}()
	t.Cleanup(func() { busy.kill(); <-blocked })

	tests := []struct {
		name      string
		at        Address
		who       Credentials
		forbidden []Address
		want      verdict
		cause     string
	}{
		{"master", master.addr, Credentials{}, nil, verdictMaster, ""},
		{"a password nobody wants", master.addr, Credentials{Password: "pw"}, nil, verdictMaster, ""},
		{"replica", replica.addr, Credentials{}, nil, verdictReplica, "it is a replica of " + master.addr.String()},
		{"sentinel", sentinel.addr, Credentials{}, nil, verdictOther, "it is a sentinel"},
		{"full", guarded.addr, Credentials{User: "full", Password: "pw"}, nil, verdictMaster, ""},
		{"without ROLE", guarded.addr, Credentials{User: "norole", Password: "pw"}, nil, verdictMaster, ""},
		{"without INFO", guarded.addr, Credentials{User: "noinfo", Password: "pw"}, nil, verdictMaster, ""},
		{"without both", guarded.addr, Credentials{User: "nothing", Password: "pw"}, nil, verdictDenied, "allow the user +role or +info"},
		{"wrong password", guarded.addr, Credentials{User: "full", Password: "no"}, nil, verdictAuth, "WRONGPASS"},
		{"no password", guarded.addr, Credentials{}, nil, verdictAuth, "NOAUTH"},
		{"busy", busy.addr, Credentials{}, nil, verdictBusy, "BUSY"},
		{"closed", closed, Credentials{}, nil, verdictUnreachable, "connection refused"},
		{"silent", silent.addr, Credentials{}, nil, verdictUnreachable, "no answer within"},
		{"itself", master.addr, Credentials{}, []Address{{"0.0.0.0", master.addr.Port}}, verdictOther, "the proxy itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := &node{addr: tt.at}
			defer n.close()
			var r report
			eventually(t, tt.want.String(), func() bool {
				r = n.ask(context.Background(), question{credentials: tt.who, forbidden: tt.forbidden, timeout: time.Second})
				return r.Verdict == tt.want
			})
			if !strings.Contains(r.Cause, tt.cause) || tt.cause == "" && r.Cause != "" {
				t.Errorf("cause %q, want %q", r.Cause, tt.cause)
			}
		})
	}

	// The replica is told with its lag; a killed connection is replaced at once.
	n := &node{addr: master.addr}
	defer n.close()
	q := question{timeout: time.Minute}
	eventually(t, "the replica is online", func() bool {
		r := n.ask(context.Background(), q)
		return len(r.Replicas) == 1 && r.Replicas[0].Online && r.Replicas[0].Lag <= replicaLag && r.Replicas[0].Address == replica.addr && r.RunID != ""
	})
	if v, err := master.do("CLIENT", "KILL", "TYPE", "normal"); err != nil || v.Int == 0 {
		t.Fatalf("client kill: %v %v", v, err)
	}
	if r := n.ask(context.Background(), q); r.Verdict != verdictMaster {
		t.Errorf("after CLIENT KILL: %v %s", r.Verdict, r.Cause)
	}
}
