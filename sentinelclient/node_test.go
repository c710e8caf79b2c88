package sentinelclient

import "testing"

// TestJudge: what the replies of a node to PING, ROLE and INFO replication mean.
// Errors of a living master are no death: only its ROLE can say that it is none.
func TestJudge(t *testing.T) {
	const (
		master  = "*3 $master :5 *1 *3 $10.0.0.2 $7002 $5"
		replica = "*5 $slave $10.0.0.1 :7001 $connected :5"
		info    = `"$role:master\r\nconnected_slaves:0\r\n"`
	)
	tests := []struct {
		name, ping, role, info string
		want                   verdict
	}{
		{"master", "+PONG", master, info, verdictMaster},
		{"replica", "+PONG", replica, `"$role:slave\r\n"`, verdictReplica},
		{"LOADING", `"-LOADING Redis is loading the dataset in memory"`, master, info, verdictLoading},
		{"LOADING, of a replica", `"-LOADING Redis is loading the dataset in memory"`, replica, `"$role:slave\r\n"`, verdictReplica},
		{"BUSY", `"-BUSY Redis is busy running a script."`, `"-BUSY Redis is busy running a script."`, `"-BUSY Redis is busy running a script."`, verdictBusy},
		{"MISCONF, which PING tells too", `"-MISCONF Errors writing to the AOF file"`, master, info, verdictMaster},
		{"NOREPLICAS", `"-NOREPLICAS Not enough good replicas to write."`, master, info, verdictMaster},
		{"OOM", `"-OOM command not allowed when used memory > 'maxmemory'."`, master, info, verdictMaster},
		{"MASTERDOWN, which a replica says to PING too", `"-MASTERDOWN Link with MASTER is down"`, replica, `"$role:slave\r\n"`, verdictReplica},
		{"MASTERDOWN, without the right to ROLE", `"-MASTERDOWN Link with MASTER is down"`, `"-NOPERM no"`, `"$role:slave\r\n"`, verdictReplica},
		{"no right to ROLE", "+PONG", `"-NOPERM no"`, info, verdictMaster},
		{"no right to either", "+PONG", `"-NOPERM no"`, `"-NOPERM no"`, verdictDenied},
		{"password wanted", `"-NOAUTH Authentication required."`, `"-NOAUTH Authentication required."`, `"-NOAUTH Authentication required."`, verdictAuth},
		{"sentinel", "+PONG", "*2 $sentinel *1 $g1", `"$# Sentinel\r\n"`, verdictOther},
	}
	for _, tt := range tests {
		r := judge(parseValue(t, tt.ping), parseValue(t, tt.role), parseValue(t, tt.info))
		if r.Verdict != tt.want || (r.Cause == "") != (tt.want == verdictMaster) {
			t.Errorf("%s: %v (%s), want %v", tt.name, r.Verdict, r.Cause, tt.want)
		}
		p := peer{verdict: r.Verdict}
		if dead := tt.want == verdictReplica || tt.want == verdictOther; p.healthy() == dead {
			t.Errorf("%s: healthy %v", tt.name, p.healthy())
		}
	}
}
