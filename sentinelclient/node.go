package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

// node is the control connection to one Redis node, owned by one goroutine: it
// is asked now and then and stays open in between.
type node struct {
	addr   Address
	limits respconn.Limits // of its replies
	conn   *respconn.Conn  // nil when not connected
	told   nodeFacts       // of this connection
}

// nodeFacts are what a node says once a connection, and of WAIT.
type nodeFacts struct {
	runID  string
	modern bool // Redis 6 or later, so WAIT ends in time
	denied bool // WAIT is not permitted
	owed   int  // replies to WAIT that are still to come
}

// question is what a node is asked with; the configuration may change between
// two of them.
type question struct {
	credentials Credentials
	forbidden   []Address
	timeout     time.Duration
	hasty       bool // more dials beside one that hangs
	acks        bool // a master shall ask its replicas for acknowledgements, for the next question
}

// nodeHandle is the monitor's end of a node.
type nodeHandle struct {
	asks chan question // one at most waits
	stop context.CancelFunc
}

// nodeReport is what a node tells the monitor.
type nodeReport struct {
	node   nodeID
	report report
}

// runNode answers each question by one report.
func runNode(ctx context.Context, id nodeID, a Address, asks <-chan question, out chan<- nodeReport) {
	n := &node{addr: a}
	defer n.close()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-asks:
			r := n.ask(ctx, q)
			select {
			case out <- nodeReport{id, r}:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (n *node) close() {
	if n.conn != nil {
		_ = n.conn.Close() // nothing is lost with it
		n.conn = nil
	}
}

// errSelf: the connection leads back into the proxy.
var errSelf = errors.New("it is the proxy itself")

// ask finds out what the node is, within q.timeout in all. A connection that was
// idle since the last time may have been closed for good reasons (CLIENT KILL,
// timeout), so one that fails is replaced once before the node is called dead.
func (n *node) ask(ctx context.Context, q question) report {
	asked := time.Now()
	ctx, cancel := within(ctx, q.timeout)
	defer cancel()
	reused := n.conn != nil
	r, err := n.exchange(ctx, q)
	if err != nil && reused && !errors.Is(err, os.ErrDeadlineExceeded) {
		n.close()
		r, err = n.exchange(ctx, q)
	}
	switch {
	case err == nil:
	case errors.Is(err, errSelf):
		r = report{Verdict: verdictOther, Cause: err.Error()}
	case n.conn != nil && errors.Is(err, os.ErrDeadlineExceeded):
		r = report{Verdict: verdictUnreachable, Cause: fmt.Sprintf("no answer within %v", q.timeout)}
	default:
		r = report{Verdict: verdictUnreachable, Cause: tidy(err).Error()}
	}
	if err != nil {
		n.close()
	}
	r.Asked = asked
	return r
}

// connect dials if need be. A deadline of ctx is set on the connection, and its
// end closes it, so that no read outlives the caller.
func (n *node) connect(ctx context.Context, q question) (fresh bool, err error) {
	if n.conn == nil {
		dialing, cancel := within(ctx, connectTimeout)
		defer cancel()
		conn, err := n.dial(dialing, q.hasty)
		if err != nil {
			return false, err
		}
		n.conn, n.told, fresh = conn, nodeFacts{}, true
		if isSelf(conn, q.forbidden) {
			return false, errSelf
		}
	}
	deadline, _ := ctx.Deadline()
	return fresh, n.conn.SetDeadline(deadline)
}

// dial begins, if it is in haste, another dial every dialAgain, and takes the first that is through: the kernel sends a lost
// SYN again after a second, and the way may be open long before. A group has two such nodes, so that comes to 40 dials a second.
func (n *node) dial(ctx context.Context, hasty bool) (*respconn.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn *respconn.Conn
		err  error
	}
	outcomes := make(chan outcome)
	address, limits := n.addr.String(), n.limits // a dial may begin when its time is over and the node is another one
	begin := func() {
		go func() {
			conn, err := respconn.Dial(ctx, "tcp", address, limits)
			select {
			case outcomes <- outcome{conn, err}:
			case <-ctx.Done():
				if err == nil {
					_ = conn.Close() // another one was faster
				}
			}
		}()
	}
	begin()
	again := time.NewTicker(dialAgain)
	defer again.Stop()
	for {
		select {
		case o := <-outcomes:
			return o.conn, o.err
		case <-again.C:
			if hasty {
				begin()
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// isSelf compares the connection, not the name, with the proxy's listeners: one
// on the wildcard address is reached by any address of this machine, and then
// both ends of the connection have the same one.
func isSelf(conn *respconn.Conn, forbidden []Address) bool {
	remote, ok1 := conn.RemoteAddr().(*net.TCPAddr)
	local, ok2 := conn.LocalAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return false
	}
	for _, f := range forbidden {
		if f.Port == remote.Port && (f.Host == remote.IP.String() || unspecified(f.Host) && remote.IP.Equal(local.IP)) {
			return true
		}
	}
	return false
}

// exchange asks everything in one round trip: PING tells LOADING, which ROLE
// does not; INFO tells how far behind each replica is.
func (n *node) exchange(ctx context.Context, q question) (report, error) {
	fresh, err := n.connect(ctx, q)
	if err != nil {
		return report{}, err
	}
	defer context.AfterFunc(ctx, closer(n.conn))()
	auth := q.credentials.auth()
	if fresh && auth != nil {
		err = n.conn.Send(auth...)
	}
	for _, args := range [][]string{{"PING"}, {"ROLE"}, {"INFO", "replication"}} {
		err = errors.Join(err, n.conn.Send(args...))
	}
	if fresh {
		err = errors.Join(err, n.conn.Send("INFO", "server"))
	}
	owed, acks := n.told.owed, q.acks && n.told.modern && !n.told.denied
	for range acksAsked {
		if acks {
			err = errors.Join(err, n.conn.Send("WAIT", "2147483647", "1")) // more replicas than there are, for 1 ms
			n.told.owed++
		}
	}
	if err = errors.Join(err, n.conn.Flush()); err != nil {
		return report{}, err
	}
	if err = n.collect(owed); err != nil {
		return report{}, err
	}
	var replies [4]respconn.Value // PING ROLE INFO INFO
	if fresh && auth != nil {
		v, err := n.conn.Receive()
		if err != nil {
			return report{}, err
		}
		if v.IsError() && !noPassword(v) {
			n.close()
			return refusedReport(v), nil
		}
	}
	for i := range replies {
		if i == 3 && !fresh {
			break
		}
		if replies[i], err = n.conn.Receive(); err != nil {
			if i > 0 && replies[0].IsError() { // "max number of clients reached", then the end
				return report{}, errors.New(clip(printable(replies[0].Str)))
			}
			return report{}, err
		}
	}
	if text, ok := replies[3].Text(); ok {
		n.told.takes(infoFields(text))
	}
	r := judge(replies[0], replies[1], replies[2])
	r.RunID, r.Sharp, r.Acks = n.told.runID, n.told.modern && !n.told.denied, acks
	if q.acks {
		r.Blunt = n.told.blunt()
	}
	if r.Verdict == verdictAuth {
		n.close() // the next one logs in anew
	}
	return r, nil
}

// acksAsked is how often replicas are asked for an acknowledgement each time: the first
// one covers what the master has told, the second one something that came after.
const acksAsked = 2

func (f *nodeFacts) takes(server map[string]string) {
	f.runID = server["run_id"]
	major, _, _ := strings.Cut(server["redis_version"], ".")
	n, err := strconv.Atoi(major)
	f.modern = err == nil && n >= 6
}

// blunt says why it cannot be made to ask for acknowledgements, "" if it can.
func (f *nodeFacts) blunt() string {
	switch {
	case f.denied:
		return "WAIT is not permitted; allow the user +wait"
	case !f.modern:
		return "it does not say that it is Redis 6 or later"
	}
	return ""
}

// collect reads replies to WAIT of the last time: nobody waited for them then.
func (n *node) collect(owed int) error {
	for range owed {
		v, err := n.conn.Receive()
		if err != nil {
			return err
		}
		n.told.owed--
		n.told.denied = n.told.denied || v.Code() == "NOPERM"
	}
	return nil
}

// closer ends the reads and writes of a connection.
func closer(c *respconn.Conn) func() {
	return func() { _ = c.SetDeadline(time.Unix(1, 0)) } // a closed one needs none
}

// refusedReport is the outcome of an error reply to AUTH.
func refusedReport(v respconn.Value) report {
	r := report{Verdict: verdictUnreachable, Cause: "AUTH: " + clip(printable(v.Str))}
	switch v.Code() {
	case "WRONGPASS", "NOAUTH", "NOPERM", "ERR":
		r.Verdict = verdictAuth
	}
	if strings.Contains(v.Str, "max number of clients") {
		r.Verdict = verdictUnreachable
	}
	return r
}

// judge makes a verdict of the replies to PING, ROLE and INFO replication.
func judge(ping, role, info respconn.Value) report {
	for _, v := range []respconn.Value{ping, role} {
		switch v.Code() {
		case "NOAUTH", "WRONGPASS":
			return report{Verdict: verdictAuth, Cause: clip(printable(v.Str))}
		case "BUSY":
			return report{Verdict: verdictBusy, Cause: clip(printable(v.Str))}
		}
	}
	told, err := parseRole(role)
	infoText, infoOK := info.Text()
	replication, infoErr := parseReplication(infoText)
	infoOK = infoOK && infoErr == nil
	if role.IsError() && infoOK {
		told, err = replication, nil
	}
	switch {
	case role.IsError() && (role.Code() == "NOPERM" || info.Code() == "NOPERM") && err != nil:
		return report{Verdict: verdictDenied, Cause: "neither ROLE nor INFO is permitted; allow the user +role or +info"}
	case role.IsError() && err != nil:
		return report{Verdict: verdictOther, Cause: "ROLE: " + clip(printable(role.Str))}
	case err != nil:
		return report{Verdict: verdictOther, Cause: err.Error()}
	case told.Name == "sentinel":
		return report{Verdict: verdictOther, Cause: "it is a sentinel"}
	case told.Name != "master":
		return report{Verdict: verdictReplica, Cause: fmt.Sprintf("it is a replica of %v, %s", told.Of, told.Link)}
	case ping.Code() == "LOADING":
		return report{Verdict: verdictLoading, Cause: "it is loading its data set"}
	}
	r := report{Verdict: verdictMaster, Replicas: told.Replicas}
	if infoOK && replication.Name == "master" {
		r.Replicas, r.Offset = replication.Replicas, replication.Offset
	}
	return r
}
