package importer

import (
	"slices"
	"strconv"

	"respgate/engine/shard"
)

// translate writes one pool. Hash and distribution are always written out, so that no default of respgate's decides where
// a key lives, and so is the timeout, which has another default there.
func (im *run) translate(s *sheet, p *source) {
	if !im.checkKind(p) {
		return
	}
	t := &translation{im, s, p}
	s.line(1, &p.at, quote(p.name)+":")
	t.listen()
	t.number("backlog")
	t.flag("reuseport")
	t.flag("tcpkeepalive")
	t.passwords()
	t.timeout()
	t.ring()
	if t.has("groups") {
		t.groups()
	} else {
		t.servers()
	}
	t.links()
	t.ejection()
	if v, ok := p.values["client_connections"]; ok && t.numberOK("client_connections", v) {
		t.warn("client_connections", "left out: twemproxy never enforced it; limits.max_clients bounds the clients of all pools")
	}
}

// checkKind finds out which program the pool is for and refuses what is for neither.
func (im *run) checkKind(p *source) bool {
	name := show(p.name)
	_, servers := p.values["servers"]
	groups := slices.ContainsFunc(groupKeys, func(k string) bool { _, ok := p.values[k]; return ok })
	before := len(im.errs) + im.omitted
	switch {
	case groups && servers:
		im.fail(p.values["servers"].at, join(name, "servers"), "cannot stand beside groups and sentinels")
	case groups:
		for _, k := range twemproxyKeys {
			if v, ok := p.values[k]; ok {
				im.fail(v.at, join(name, k), "is not a key of twemproxy-163, which a pool with groups is for")
			}
		}
		for _, k := range []string{"groups", "sentinels"} {
			if _, ok := p.values[k]; !ok {
				im.fail(p.at, join(name, k), "is missing")
			}
		}
	case !servers:
		im.fail(p.at, name, "has neither servers (twemproxy) nor groups and sentinels (twemproxy-163)")
	default:
		im.checkRedis(p, name)
	}
	if _, ok := p.values["listen"]; !ok {
		im.fail(p.at, join(name, "listen"), "is missing")
	}
	return len(im.errs)+im.omitted == before
}

func (im *run) checkRedis(p *source, name string) {
	switch v, ok := p.values["redis"]; {
	case !ok:
		im.fail(p.at, name, "is a memcached pool, as twemproxy's pools are without redis: true; respgate serves only Redis")
	case v.text == "false":
		im.fail(v.at, join(name, "redis"), "is false: a memcached pool; respgate serves only Redis")
	case v.text != "true":
		im.fail(v.at, join(name, "redis"), `is not "true" or "false"`)
	}
}

// translation is one pool on its way.
type translation struct {
	*run
	sheet *sheet
	pool  *source
}

func (t *translation) has(key string) bool { _, ok := t.pool.values[key]; return ok }

func (t *translation) path(key string) string { return join(show(t.pool.name), key) }

// warn warns at a key, or at the pool where the file does not have the key.
func (t *translation) warn(key, format string, args ...any) {
	at := t.pool.at
	if v, ok := t.pool.values[key]; ok {
		at = v.at
	}
	t.run.warn(at, t.path(key), format, args...)
}

func (t *translation) numberOK(key string, v value) bool {
	_, err := number(v.text)
	if err != nil {
		t.fail(v.at, t.path(key), "%v", err)
	}
	return err == nil
}

// number copies a number, if there is one, and returns it; 0 otherwise.
func (t *translation) number(key string) int {
	v, ok := t.pool.values[key]
	if !ok || !t.numberOK(key, v) {
		return 0
	}
	n, _ := number(v.text)
	t.sheet.set(v.at, key, strconv.Itoa(n))
	return n
}

// flag copies true or false, if there is one, and returns it; false otherwise.
func (t *translation) flag(key string) bool {
	v, ok := t.pool.values[key]
	if !ok {
		return false
	}
	if v.text != "true" && v.text != "false" {
		t.fail(v.at, t.path(key), `is not "true" or "false"`)
		return false
	}
	t.sheet.set(v.at, key, v.text)
	return v.text == "true"
}

func (t *translation) listen() {
	v := t.pool.values["listen"]
	line, err := listenLine(v.text)
	if err != nil {
		t.fail(v.at, t.path("listen"), "%v", err)
		return
	}
	t.sheet.set(v.at, "listen", quote(line))
}

func (t *translation) passwords() {
	v, ok := t.pool.values["redis_auth"]
	if !ok {
		return
	}
	secret := strconv.Quote(v.text)
	t.sheet.set(v.at, "password", secret)
	t.sheet.set(v.at, "redis_auth", secret)
	t.warn("redis_auth", "twemproxy has one password for both sides: written as password (clients) and redis_auth (servers), which may differ from now on")
}

func (t *translation) timeout() {
	if t.number("timeout") > 0 {
		t.warn("timeout", "counts from sending a request, without the time to connect; one that times out costs its neighbours nothing, while twemproxy closes the connection to the server and fails all that is queued on it")
		return
	}
	if !t.has("timeout") {
		t.sheet.set(t.pool.at, "timeout", "0")
	}
	t.warn("timeout", "none, as in twemproxy: a request waits for its server without limit; respgate's own default is 3s")
}

// ring writes what decides where a key lives.
func (t *translation) ring() {
	at, hash := t.pool.at, shard.Hash(0).String()
	if v, ok := t.pool.values["hash"]; ok {
		at, hash = v.at, v.text
	}
	t.sheet.set(at, "hash", quote(hash))
	if v, ok := t.pool.values["hash_tag"]; ok {
		t.sheet.set(v.at, "hash_tag", strconv.Quote(v.text))
	}
	at, distribution := t.pool.at, shard.Distribution(0).String()
	if v, ok := t.pool.values["distribution"]; ok {
		at, distribution = v.at, v.text
	}
	t.sheet.set(at, "distribution", quote(distribution))
}

func (t *translation) servers() {
	list := t.pool.values["servers"]
	t.sheet.line(2, &list.at, "servers:")
	for _, item := range list.items {
		s, err := parseServer(item.text)
		if err != nil {
			t.fail(item.at, t.path("servers"), "%v", err)
			continue
		}
		t.sheet.item(item.at, strconv.Quote(s.line()))
		switch {
		case s.paddedPort():
			t.run.warn(item.at, t.path("servers"), "twemproxy hashes the port with its leading zero: kept as the name of the server, %q, so that no key moves", s.hashed())
		case trimZeros(s.port) == memcachedPort && s.alias == "":
			t.run.warn(item.at, t.path("servers"), "hashed as %q, without its port, because that is memcached's port 11211: the same as in twemproxy; another port moves keys, unless the server is named", s.hashed())
		}
	}
}

func (t *translation) groups() {
	list := t.pool.values["groups"]
	t.sheet.line(2, &list.at, "groups:")
	for _, item := range list.items {
		t.sheet.item(item.at, quote(item.text))
	}
	list = t.pool.values["sentinels"]
	t.sheet.line(2, &list.at, "sentinels:")
	for _, item := range list.items {
		line, err := sentinelLine(item.text)
		if err != nil {
			t.fail(item.at, t.path("sentinels"), "%v", err)
			continue
		}
		t.sheet.item(item.at, strconv.Quote(line))
	}
	t.warn("sentinels", "all of them are watched at a time and each group has its own state, so that neither a sentinel nor a dead group stops the others; sentinel_links: 1 with authority_lease: 0 is twemproxy-163's way")
	v, ok := t.pool.values["sentinel_heartbeat"]
	if ms := t.number("sentinel_heartbeat"); ok && ms > 0 {
		t.sheet.set(v.at, "sentinel_timeout", strconv.Itoa(ms))
		t.warn("sentinel_heartbeat", "is a PING here and no new PSUBSCRIBE, and sentinel_missed of them replace the link; twemproxy-163 has it as the limit of the interaction too, which is sentinel_timeout")
	}
}

func (t *translation) links() {
	t.number("redis_db")
	if n := t.number("server_connections"); n > 1 {
		t.warn("server_connections", "each event loop has %d links to a server, where twemproxy has them once; a client's requests take turns over them, so that, as there, it may not read what it has just written: 1 is the better value", n)
	}
	if t.flag("preconnect") {
		t.warn("preconnect", "each event loop has links of its own, so that a server sees server_connections for each of them")
	}
}

func (t *translation) ejection() {
	if t.flag("auto_eject_hosts") {
		t.warn("auto_eject_hosts", "as in twemproxy, the keys of an ejected server are looked for on the others, where they are not; what is written there in the meantime is left behind when it returns; a pool with groups and sentinels fails over instead")
	}
	t.number("server_retry_timeout")
	t.number("server_failure_limit")
}
