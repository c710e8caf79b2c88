"""redis-py as Debian has it, with its parser in Python or in C (hiredis)."""

import os
import signal
import sys
import threading
import time

import redis
from redis.connection import HiredisParser, PythonParser

PREFIX = os.environ["KEYS"]
TAG, SPREAD = "{%s}:" % PREFIX, PREFIX + ":"  # keys of one group, and keys of any
LIMIT = int(os.environ["LIMIT_MS"]) / 1000
PARSER = {"python": PythonParser, "hiredis": HiredisParser}[sys.argv[1]]


def client(**options):
    """A client with one connection of its own."""
    settings = dict(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"],
                    decode_responses=True, socket_timeout=LIMIT, parser_class=PARSER)
    settings.update(options)
    pool = redis.ConnectionPool(**settings)
    clients.append(pool)
    return redis.Redis(connection_pool=pool)


clients = []  # of the feature that is tried


def same(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def fails(call, kind, text=""):
    try:
        got = call()
    except kind as error:
        same((text in str(error), str(error)), (True, str(error)))
        return
    raise AssertionError("want %s %s, got %r" % (kind.__name__, text, got))


def until(condition):
    while not condition():
        time.sleep(0.002)


def aside(call):
    """What call returns, from a thread of its own."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()

    def joined():
        thread.join(LIMIT)
        return result[0]
    return joined


def messages(pubsub, count):
    got = []
    while len(got) < count:
        message = pubsub.get_message(timeout=LIMIT)
        if message is None:
            raise AssertionError("%d messages within the limit, want %d" % (len(got), count))
        got.append((message["type"], message["channel"], message["data"]))
    return got


def connect(r):
    same(r.ping(), True)
    same(client(client_name="redis-py-program").client_getname(), "redis-py-program")
    same(client(username="default").ping(), True)
    same(redis.Redis.from_url("redis://:%s@%s:%s/1" % (os.environ["REDIS_PASSWORD"], os.environ["REDIS_HOST"], os.environ["REDIS_PORT"])).ping(), True)
    fails(client(password="wrong").ping, redis.RedisError, "WRONGPASS")


def strings(r):
    k = TAG + "string"
    r.delete(k)
    same(r.set(k, "one", ex=100, nx=True), True)
    same(r.set(k, "two", nx=True), None)
    same(r.append(k, "+two"), 7)
    same(r.getrange(k, 3, -1), "+two")
    same(r.getdel(k), "one+two")
    same(r.incrby(k, 5), 5)
    same(r.incrbyfloat(k, 0.5), 5.5)
    same(r.mset({TAG + "a": 1, TAG + "b": 2}), True)
    same(r.mget(TAG + "a", TAG + "none", TAG + "b"), ["1", None, "2"])
    binary = bytes(range(256)) * 4096
    raw = client(decode_responses=False)
    raw.set(TAG + "binary", binary)
    same(raw.get(TAG + "binary") == binary, True)


def keys(r):
    a, b, c = TAG + "key:a", TAG + "key:b", TAG + "key:c"
    r.delete(a, b, c)
    r.set(a, "value")
    same(r.exists(a, b), 1)
    same(r.expire(a, 1000), True)
    same(r.ttl(a) > 900, True)
    same(r.type(a), "string")
    same(r.rename(a, b), True)
    same(r.copy(b, c), True)
    raw = client(decode_responses=False)
    same(raw.restore(a, 0, raw.dump(c)), b"OK")
    same(r.unlink(a, b, c), 3)
    r.rpush(a, 3, 1, 2)
    same(r.sort(a, desc=True), ["3", "2", "1"])


def keys_of_all_groups(r):
    many = ["%smany:%d" % (SPREAD, i) for i in range(64)]
    same(r.mset({k: i for i, k in enumerate(many)}), True)
    same(r.mget(many), [str(i) for i in range(64)])
    same(r.exists(*many), 64)
    same(r.unlink(*many[32:]), 32)
    same(r.delete(*many), 32)


def hashes(r):
    k = TAG + "hash"
    r.delete(k)
    same(r.hset(k, mapping={"a": 1, "b": "two"}), 2)
    same(r.hgetall(k), {"a": "1", "b": "two"})
    same(r.hincrby(k, "a", 41), 42)
    same(r.hmget(k, "a", "none"), ["42", None])
    same(r.hdel(k, "a"), 1)


def lists(r):
    k = TAG + "list"
    r.delete(k, k + "2")
    same(r.rpush(k, "a", "b", "c", "d"), 4)
    same(r.lrange(k, 0, -1), ["a", "b", "c", "d"])
    same(r.lmove(k, k + "2", "LEFT", "RIGHT"), "a")
    same(r.rpoplpush(k, k + "2"), "d")
    same(r.lpop(k, 2), ["b", "c"])


def sets(r):
    a, b = TAG + "set:a", TAG + "set:b"
    r.delete(a, b)
    same(r.sadd(a, "x", "y", "z"), 3)
    r.sadd(b, "y", "z", "w")
    same(r.smembers(a), {"x", "y", "z"})
    same(r.sinter(a, b), {"y", "z"})
    same(r.sunionstore(TAG + "set:u", a, b), 4)


def sorted_sets(r):
    k = TAG + "zset"
    r.delete(k)
    same(r.zadd(k, {"a": 1, "b": 2.5, "c": float("inf")}), 3)
    same(r.zrange(k, 0, -1, withscores=True), [("a", 1.0), ("b", 2.5), ("c", float("inf"))])
    same(r.zincrby(k, 2, "a"), 3.0)
    same(r.zrangebyscore(k, 2, 3), ["b", "a"])
    same(r.zpopmin(k), [("b", 2.5)])


def streams(r):
    k = TAG + "stream"
    r.delete(k)
    same(r.xadd(k, {"f": "v"}, id="1-1"), "1-1")
    r.xadd(k, {"f": "w"}, id="1-2")
    same(r.xrange(k), [("1-1", {"f": "v"}), ("1-2", {"f": "w"})])
    same(r.xgroup_create(k, "g", "0"), True)
    same(len(r.xreadgroup("g", "c", {k: ">"}, count=10)[0][1]), 2)
    same(r.xack(k, "g", "1-1"), 1)
    same(r.xpending(k, "g")["pending"], 1)
    same(r.xinfo_stream(k)["length"], 2)


def geo(r):
    k = TAG + "geo"
    r.delete(k)
    same(r.geoadd(k, (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
    same(r.geodist(k, "Palermo", "Catania", "km"), 166.2742)
    same(r.geosearch(k, longitude=15, latitude=37, radius=100, unit="km"), ["Catania"])


def hyperloglog_and_bitmaps(r):
    r.delete(TAG + "hll", TAG + "hll2", TAG + "bits")
    same(r.pfadd(TAG + "hll", "a", "b", "c"), 1)
    r.pfadd(TAG + "hll2", "c", "d")
    same(r.pfcount(TAG + "hll", TAG + "hll2"), 4)
    same(r.setbit(TAG + "bits", 7, 1), 0)
    same(r.bitcount(TAG + "bits"), 1)
    same(r.bitfield(TAG + "bits").set("u8", 8, 200).get("u8", 8).execute(), [0, 200])


def pipeline(r):
    p = r.pipeline(transaction=False)
    for i in range(500):
        p.set("%sp:%d" % (SPREAD, i), i).get("%sp:%d" % (SPREAD, i))
    same(p.execute(), [x for i in range(500) for x in (True, str(i))])
    r.set(TAG + "text", "text")
    replies = r.pipeline(transaction=False).lpush(TAG + "text", 1).get(TAG + "text").execute(raise_on_error=False)
    same((isinstance(replies[0], redis.ResponseError), replies[1]), (True, "text"))


def transaction(r):
    r.delete(TAG + "t")
    same(r.pipeline().incr(TAG + "t").incr(TAG + "t").get(TAG + "t").execute(), [1, 2, "2"])
    replies = r.pipeline().set(TAG + "t", "text").lpush(TAG + "t", 1).get(TAG + "t").execute(raise_on_error=False)
    same((replies[0], str(replies[1])[:9], replies[2]), (True, "WRONGTYPE", "text"))
    fails(r.pipeline().execute_command("SET", TAG + "t").execute, redis.ResponseError, "wrong number of arguments")
    same(r.get(TAG + "t"), "text")


def watch(r):
    other = client()
    other.set(TAG + "w", 1)
    with r.pipeline() as p:
        p.watch(TAG + "w")
        same(p.get(TAG + "w"), "1")
        other.set(TAG + "w", 2)
        p.multi()
        p.set(TAG + "w", 3)
        fails(p.execute, redis.WatchError)
        p.watch(TAG + "w")
        other.set(TAG + "w", 4)
        p.unwatch()
        p.multi()
        p.get(TAG + "w")
        same(p.execute(), ["4"])
    same(r.transaction(lambda p: (p.multi(), p.incr(TAG + "w")), TAG + "w"), [5])


def pub_sub(r):
    with r.pubsub() as p:
        p.subscribe(SPREAD + "one", SPREAD + "two")
        p.psubscribe(SPREAD + "p*")
        same(messages(p, 3), [("subscribe", SPREAD + "one", 1), ("subscribe", SPREAD + "two", 2), ("psubscribe", SPREAD + "p*", 3)])
        same(r.publish(SPREAD + "one", "first"), 1)
        same(r.publish(SPREAD + "nobody", "lost"), 0)
        same(messages(p, 1), [("message", SPREAD + "one", "first")])
        same(r.publish(SPREAD + "pattern", "second"), 1)
        same(messages(p, 1), [("pmessage", SPREAD + "pattern", "second")])
        p.ping("still here")
        same(messages(p, 1)[0][0], "pong")
        same(sorted(r.pubsub_channels(SPREAD + "*")), [SPREAD + "one", SPREAD + "two"])
        same(r.pubsub_numsub(SPREAD + "one"), [(SPREAD + "one", 1)])
        p.unsubscribe(SPREAD + "one")
        same(messages(p, 1), [("unsubscribe", SPREAD + "one", 2)])
        r.publish(SPREAD + "two", "third")
        same(messages(p, 1), [("message", SPREAD + "two", "third")])
        p.unsubscribe()
        p.punsubscribe()
        same(messages(p, 2), [("unsubscribe", SPREAD + "two", 1), ("punsubscribe", SPREAD + "p*", 0)])


def scripts(r):
    k = TAG + "script"
    r.delete(k)
    script = r.register_script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])} -- %f" % time.time())
    same(script(keys=[k], args=["x"]), [k, "x", 1])
    same(r.script_exists(script.sha, "0" * 40), [True, False])
    same(r.evalsha(script.sha, 1, k, "y"), [k, "y", 2])
    same(r.eval("return redis.call('GET', KEYS[1])", 1, k), "2")
    fails(lambda: r.evalsha("1" * 40, 1, k), redis.exceptions.NoScriptError)
    fails(lambda: r.eval("return redis.error_reply('MINE of the script')", 1, k), redis.ResponseError, "MINE of the script")
    with r.lock(TAG + "lock", timeout=10, blocking_timeout=LIMIT):
        same(r.lock(TAG + "lock").acquire(blocking=False), False)
    same(r.get(TAG + "lock"), None)


def functions(r):
    library = "py_%d" % os.getpid()
    same(r.function_load("#!lua name=%s\nredis.register_function('%s_f', function(keys, args) return args[1] end)" % (library, library)), library)
    same(r.fcall(library + "_f", 1, TAG + "f", "hello"), "hello")
    same(len(r.function_list(library)), 1)
    same(r.function_delete(library) in (True, "OK"), True)


def blocking(r):
    other, k = client(), TAG + "queue"
    r.delete(k, k + "2", k + "3")
    popped = aside(lambda: r.blpop([k, k + "2"], 30))
    other.rpush(k + "2", "job")
    same(popped(), (k + "2", "job"))
    same(r.brpop(k, 0.01), None)
    moved = aside(lambda: r.blmove(k, k + "2", 30, "LEFT", "RIGHT"))
    other.rpush(k, "moved")
    same(moved(), "moved")
    lowest = aside(lambda: r.bzpopmin(k + "3", 30))
    other.zadd(k + "3", {"m": 1})
    same(lowest(), (k + "3", "m", 1.0))
    same(r.ping(), True)


def blocking_streams(r):
    other, k = client(), TAG + "feed"
    r.delete(k)
    read = aside(lambda: r.xread({k: "0"}, block=30000))
    other.xadd(k, {"f": "v"}, id="5-1")
    same(read(), [[k, [("5-1", {"f": "v"})]]])
    same(r.xread({k: "$"}, block=10), [])


def scan(r):
    many = ["%sscan:%d" % (SPREAD, i) for i in range(300)]
    p = r.pipeline(transaction=False)
    for k in many:
        p.set(k, 1)
    p.execute()
    same(sorted(set(r.scan_iter(SPREAD + "scan:*", count=50))), sorted(many))
    r.delete(TAG + "h", TAG + "s")
    r.hset(TAG + "h", mapping={k: 1 for k in many})
    same(len(dict(r.hscan_iter(TAG + "h"))), 300)
    r.sadd(TAG + "s", *many)
    same(len(set(r.sscan_iter(TAG + "s"))), 300)


def database(r):
    one = client(db=1)
    r.set(TAG + "db", "zero")
    one.set(TAG + "db", "one")
    same((r.get(TAG + "db"), one.get(TAG + "db")), ("zero", "one"))
    same(one.delete(TAG + "db"), 1)
    fails(client(db=16).ping, redis.RedisError)


def client_commands(r):
    number = r.client_id()
    same(isinstance(number, int), True)
    same(r.client_setname("renamed"), True)
    same(r.client_getname(), "renamed")
    same(int(r.client_info()["id"]), number)
    same([c["name"] for c in r.client_list(client_id=[str(number)])], ["renamed"])
    same(r.client_no_evict("ON"), "OK")
    same(r.echo("hello"), "hello")
    same(len(r.time()), 2)
    same("redis_version" in r.info(), True)
    same(r.command_count() > 200, True)


def pool(_):
    shared = client(max_connections=16, socket_timeout=LIMIT)
    shared.delete(TAG + "pool")

    def work():
        for _ in range(20):
            shared.pipeline().incr(TAG + "pool").ping().execute()
        return True
    for done in [aside(work) for _ in range(8)]:
        same(done(), True)
    same(shared.get(TAG + "pool"), "160")


def errors(r):
    r.set(TAG + "text", "text")
    fails(lambda: r.lpush(TAG + "text", 1), redis.ResponseError, "WRONGTYPE")
    fails(lambda: r.incr(TAG + "text"), redis.ResponseError, "not an integer")
    fails(lambda: r.execute_command("NOSUCHCOMMAND"), redis.ResponseError, "unknown command")
    fails(lambda: r.execute_command("GET"), redis.ResponseError, "wrong number of arguments")


def reconnect(_):
    r, other = client(client_name="redis-py-program"), client()
    same(other.client_kill_filter(_id=r.client_id()), 1)
    until(lambda: attempt(lambda: r.set(TAG + "again", 1)))
    same(r.client_getname(), "redis-py-program")
    with r.pubsub() as p:
        p.subscribe(SPREAD + "again")
        messages(p, 1)
        subscribers = [c["id"] for c in other.client_list(_type="pubsub") if c["name"] == "redis-py-program"]
        same([other.client_kill_filter(_id=i) for i in subscribers], [1])
        until(lambda: attempt(lambda: messages(p, 1)[0][0] == "subscribe"))
        until(lambda: other.publish(SPREAD + "again", "m") == 1)
        same(messages(p, 1)[0][2], "m")


def attempt(call):
    try:
        return call()
    except redis.ConnectionError:
        return False


def monitor(r):
    with client().monitor() as m:
        r.get(TAG + "monitored")
        while m.next_command()["command"] != "GET %smonitored" % TAG:
            pass


def late(*_):
    raise TimeoutError("no end within %d ms" % (LIMIT * 1000))


signal.signal(signal.SIGALRM, late)
print("client redis-py %s %s parser" % (redis.__version__, sys.argv[1]))
for feature in (connect, strings, keys, keys_of_all_groups, hashes, lists, sets, sorted_sets, streams, geo, hyperloglog_and_bitmaps, pipeline,
                transaction, watch, pub_sub, scripts, functions, blocking, blocking_streams, scan, database, client_commands, pool, errors,
                reconnect, monitor):
    name = {"pub_sub": "pub/sub"}.get(feature.__name__, feature.__name__.replace("_", " "))
    try:
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        feature(client())
        print("ok", name)
    except Exception as error:
        print("fail %s: %s" % (name, " ".join(str(error).split()) or type(error).__name__))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    for connections in clients:
        connections.disconnect()
    clients.clear()
sys.stdout.flush()
os._exit(0)  # whatever threads a broken connection has left behind
