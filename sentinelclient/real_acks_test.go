package sentinelclient

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRealAcks has a real master ask its replica for acknowledgements: what was put into the stream after one answer is
// acknowledged in a later one as long as the replica is there, and only then.
func TestRealAcks(t *testing.T) {
	t.Parallel()
	master := startServer(t, "redis-server", func(int) string { return "save \"\"\nuser blunt on >pw ~* &* +@all -wait\n" })
	replica := startServer(t, "redis-server", func(int) string {
		return fmt.Sprintf("save \"\"\nreplicaof 127.0.0.1 %d\n", master.addr.Port)
	})
	n := &node{addr: master.addr}
	defer n.close()
	w := newWitnesses()
	w.counted(1)
	ask := func(n *node, q question) report {
		t.Helper()
		q.timeout = 5 * time.Second
		r := n.ask(context.Background(), q)
		if r.Verdict != verdictMaster || n.told.owed > 2 {
			t.Fatalf("%+v, %d replies owed", r, n.told.owed)
		}
		return r
	}
	proven := func(after time.Time) bool {
		w.reported(ask(n, question{acks: true}), replicaVouch, false)
		return w.proven[replica.addr].After(after)
	}
	eventually(t, "the replica proves that it is one", func() bool { return proven(time.Now().Add(-time.Second)) })
	asked := time.Now()
	eventually(t, "once more", func() bool { return proven(asked) })
	if !w.until.Equal(w.proven[replica.addr].Add(replicaVouch)) {
		t.Errorf("it vouches until %v, the proof is of %v", w.until, w.proven[replica.addr])
	}

	// Nothing is put into the stream while the master is paused: its replica vouches by the age of its acknowledgement.
	if _, err := master.do("CLIENT", "PAUSE", "60000", "WRITE"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the paused master's replica vouches", func() bool {
		proof := w.proven[replica.addr]
		r := ask(n, question{acks: true})
		w.reported(r, replicaVouch, false)
		return w.until.Equal(r.Asked.Add(laggingVouch)) && w.proven[replica.addr].Equal(proof)
	})
	if _, err := master.do("CLIENT", "UNPAUSE"); err != nil {
		t.Fatal(err)
	}

	// A replica that is stopped proves nothing any more, although its connection stays.
	replica.signal(t, syscall.SIGSTOP)
	stopped := time.Now()
	for range 20 {
		w.reported(ask(n, question{acks: true}), replicaVouch, false)
	}
	if at := w.proven[replica.addr]; !at.Before(stopped) || w.until.After(stopped.Add(replicaVouch)) {
		t.Errorf("stopped at %v: proof of %v, vouches until %v", stopped, at, w.until)
	}
	replica.signal(t, syscall.SIGCONT)

	// A user who may not WAIT is told so once a connection.
	blunt := &node{addr: master.addr}
	defer blunt.close()
	eventually(t, "WAIT is denied", func() bool {
		r := ask(blunt, question{credentials: Credentials{User: "blunt", Password: "pw"}, acks: true})
		return blunt.told.denied && !r.Acks && !r.Sharp && strings.Contains(r.Blunt, "+wait")
	})
	if ask(blunt, question{}); blunt.told.owed != 0 {
		t.Errorf("%d replies are owed after all were read", blunt.told.owed)
	}
}
