package sentinelclient

import (
	"context"
	"errors"
	"fmt"

	"respgate/internal/respconn"
)

// switchChannel is the lock of a planned switch: whoever is subscribed to it at
// the master switches the group. It is seen by every proxy that reaches the
// master, ends with the connection of its owner, and touches no data. Being the
// first is found out in a transaction, so of two that come at once exactly one is.
// PUBSUB CHANNELS shows it. The connection of an owner whose host vanishes ends
// with the server's tcp-keepalive (300 s) or CLIENT KILL.
const switchChannel = "respgate:switch:"

// lock subscribes to the group's lock on a connection of its own; a CommandError
// with INPROG if somebody else has it.
func lock(ctx context.Context, a *asker, group string) error {
	channel := switchChannel + group
	var v respconn.Value
	err := a.talk(ctx, func() error {
		var err error
		for _, args := range [][]string{{"MULTI"}, {"PUBSUB", "NUMSUB", channel}, {"SUBSCRIBE", channel}, {"EXEC"}} {
			err = errors.Join(err, a.conn.Send(args...))
		}
		if err = errors.Join(err, a.conn.Flush()); err != nil {
			return err
		}
		var first respconn.Value // the error that EXEC only sums up
		for range 4 {
			if v, err = a.conn.Receive(); err != nil {
				return err
			}
			if v.IsError() && !first.IsError() {
				first = v
			}
		}
		if first.IsError() {
			v = first
		}
		return nil
	}, &v)
	refuse := func(code, text string) error {
		a.close()
		return &CommandError{Code: code, Text: fmt.Sprintf("master %v: %s", a.addr, text)}
	}
	switch {
	case err != nil:
		return refuse("ERR", "lock: "+tidy(err).Error())
	case v.IsError():
		return refuse(v.Code(), "the lock of the switch needs SUBSCRIBE to "+channel+": "+clip(printable(v.Str)))
	case len(v.Elems) != 2 || len(v.Elems[0].Elems) != 2:
		return refuse("ERR", "lock: it makes no sense of PUBSUB NUMSUB")
	case v.Elems[0].Elems[1].Int > 0:
		return refuse("INPROG", "another proxy is switching the group: it is subscribed to "+channel+" (CLIENT LIST TYPE pubsub shows its address; if its host is gone, CLIENT KILL it)")
	}
	return nil
}
