package sentinelclient

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"respgate/internal/respconn"
)

const (
	syncWait = 2 * time.Second       // for the replicas, before a failover is asked for
	syncPoll = 20 * time.Millisecond // between two looks; a replica acknowledges once a second
)

// standingOf is what a master says of its replicas in INFO replication.
type standingOf struct {
	Offset   int64 // of the master
	Replicas int
	Online   int
	Behind   string // a replica that has not acknowledged Offset, empty if all have
	By       int64  // bytes that it is behind
}

// parseStanding reads the text of INFO replication. upTo is the offset that
// counts; 0 takes the master's own.
func parseStanding(text string, upTo int64) (standingOf, error) {
	fields := infoFields(text)
	if fields["role"] != "master" {
		return standingOf{}, fmt.Errorf("its role is %q", clip(printable(fields["role"])))
	}
	var s standingOf
	var err error
	if s.Offset, err = strconv.ParseInt(fields["master_repl_offset"], 10, 64); err != nil {
		return standingOf{}, errors.New("INFO has no master_repl_offset")
	}
	if upTo == 0 {
		upTo = s.Offset
	}
	for name, value := range fields {
		number, isReplica := strings.CutPrefix(name, "slave")
		if _, err := strconv.Atoi(number); !isReplica || err != nil {
			continue
		}
		s.Replicas++
		r := map[string]string{}
		for pair := range strings.SplitSeq(value, ",") {
			key, v, _ := strings.Cut(pair, "=")
			r[key] = v
		}
		offset, err := strconv.ParseInt(r["offset"], 10, 64)
		if r["state"] == "online" {
			s.Online++
		}
		if by := upTo - offset; err != nil || r["state"] != "online" || by > 0 {
			s.Behind, s.By = printable(r["ip"]+":"+r["port"]), max(s.By, by)
		}
	}
	return s, nil
}

// synced waits until every replica of a master has what the master has now: a
// failover to one that lacks acknowledged writes would lose them. Held requests
// make sure that no more are coming from here.
func synced(ctx context.Context, master Address, q question) error {
	refuse := func(text string) error {
		return &CommandError{Code: "NOREPLICA", Text: "master " + master.String() + ": " + text}
	}
	ctx, cancel := within(ctx, syncWait)
	defer cancel()
	n := &node{addr: master}
	defer n.close()
	tick := time.NewTicker(syncPoll)
	defer tick.Stop()
	upTo := int64(0)
	for {
		v, err := n.replication(ctx, q)
		if err != nil {
			return refuse(tidy(err).Error())
		}
		text, ok := v.Text()
		if v.IsError() || !ok {
			return refuse("INFO replication: " + clip(printable(v.Str)))
		}
		s, err := parseStanding(text, upTo)
		switch {
		case err != nil:
			return refuse(err.Error())
		case s.Online == 0:
			return refuse("no replica of it is online, which could take over")
		case s.Behind == "":
			return nil
		case upTo == 0:
			upTo = s.Offset
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return refuse(fmt.Sprintf("its replica %s lacks %d bytes of what clients were told is written: wait until it has caught up", s.Behind, s.By))
		}
	}
}

// replication asks for INFO replication on a connection that is kept.
func (n *node) replication(ctx context.Context, q question) (respconn.Value, error) {
	fresh, err := n.connect(ctx, q)
	if err != nil {
		return respconn.Value{}, err
	}
	defer context.AfterFunc(ctx, closer(n.conn))()
	if auth := q.credentials.auth(); fresh && auth != nil {
		v, err := n.conn.Do(auth...)
		if err != nil || v.IsError() && !noPassword(v) {
			return v, err
		}
	}
	return n.conn.Do("INFO", "replication")
}
