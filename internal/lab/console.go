package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"respgate/internal/respconn"
)

// askLimit bounds one question to any process of the lab.
const askLimit = time.Second

// ask sends one command on a connection of its own; an error reply is an error.
func ask(ctx context.Context, address string, args ...string) (respconn.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	c, err := respconn.Dial(ctx, "tcp", address, respconn.Limits{})
	if err != nil {
		return respconn.Value{}, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return respconn.Value{}, err
	}
	v, err := c.Do(args...)
	if err != nil {
		return v, fmt.Errorf("%s: %s: %w", address, args[0], err)
	}
	if v.IsError() {
		return v, fmt.Errorf("%s: %s: %s", address, args[0], v.Str)
	}
	return v, nil
}

// answers reports whether a process serves.
func answers(ctx context.Context, address string) error {
	_, err := ask(ctx, address, "PING")
	return err
}

// rows are a list of flat arrays of name and value, as the console and the sentinels have them.
func rows(v respconn.Value) (list []map[string]string) {
	for _, e := range v.Elems {
		list = append(list, fields(e))
	}
	return list
}

// fields is one flat array of name and value.
func fields(v respconn.Value) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(v.Elems); i += 2 {
		name, _ := v.Elems[i].Text()
		m[name], _ = v.Elems[i+1].Text()
	}
	return m
}

// settled says why a sentinel would not fail a group over well yet; nil if it would.
func settled(ctx context.Context, address, group string, sentinels int) error {
	if _, err := ask(ctx, address, "SENTINEL", "CKQUORUM", group); err != nil {
		return err
	}
	v, err := ask(ctx, address, "SENTINEL", "MASTER", group)
	if err != nil {
		return err
	}
	m := fields(v)
	if m["flags"] != "master" || m["num-other-sentinels"] != strconv.Itoa(sentinels-1) || m["num-slaves"] != "1" {
		return fmt.Errorf("%s: %s is %s, with %s replicas and %s other sentinels", address, group, m["flags"], m["num-slaves"], m["num-other-sentinels"])
	}
	if v, err = ask(ctx, address, "SENTINEL", "REPLICAS", group); err != nil {
		return err
	}
	for _, r := range rows(v) {
		if r["flags"] != "slave" || r["master-link-status"] != "ok" {
			return fmt.Errorf("%s: replica %s of %s is %s, its link is %s", address, r["name"], group, r["flags"], r["master-link-status"])
		}
	}
	return nil
}

// poolsUp says which pool does not serve yet, and why.
func poolsUp(ctx context.Context, admin string) error {
	v, err := ask(ctx, admin, "PROXY", "POOLS")
	if err != nil {
		return err
	}
	var all []error
	for _, p := range rows(v) {
		if p["state"] != "up" {
			all = append(all, fmt.Errorf("pool %s is %s: %s", p["name"], p["state"], p["cause"]))
		}
	}
	return errors.Join(all...)
}

// activeSentinel is the one that pool lab has chosen; "" if it cannot be told.
func (l *lab) activeSentinel(ctx context.Context) string {
	v, err := ask(ctx, l.proxy.address, "PROXY", "SENTINELS", "lab")
	if err != nil {
		return ""
	}
	for _, s := range rows(v) {
		if s["active"] == "1" {
			return s["address"]
		}
	}
	return ""
}
