# redis-rb as Debian has it.
require 'redis'
require 'timeout'

PREFIX = ENV.fetch('KEYS')
TAG = "{#{PREFIX}}:".freeze # keys of one group
SPREAD = "#{PREFIX}:".freeze # keys of any
LIMIT = Integer(ENV.fetch('LIMIT_MS')) / 1000.0
OPEN = [] # the clients of the feature that is tried

def open_client(**options)
  r = Redis.new(host: ENV.fetch('REDIS_HOST'), port: Integer(ENV.fetch('REDIS_PORT')), password: ENV.fetch('REDIS_PASSWORD'),
                timeout: LIMIT, reconnect_attempts: 0, **options)
  OPEN << r
  r
end

def same(got, want)
  raise "got #{got.inspect}, want #{want.inspect}" unless got == want
end

def fails(text)
  got = yield
rescue Redis::BaseError => e
  raise "want an error with #{text}, got #{e.message}" unless e.message.include?(text)
else
  raise "want an error with #{text}, got #{got.inspect}"
end

def until_true
  sleep 0.002 until yield
end

FEATURES = {
  'connect' => lambda { |r|
    same(r.ping, 'PONG')
    same(r.call(%w[CLIENT SETNAME redis-rb-program]), 'OK')
    same(r.call(%w[CLIENT GETNAME]), 'redis-rb-program')
    same(open_client(username: 'default').ping, 'PONG')
    same(open_client(url: "redis://:#{ENV.fetch('REDIS_PASSWORD')}@#{ENV.fetch('REDIS_HOST')}:#{ENV.fetch('REDIS_PORT')}/1").ping, 'PONG')
    fails('WRONGPASS') { open_client(password: 'wrong').ping }
  },
  'strings' => lambda { |r|
    k = "#{TAG}string"
    r.del(k)
    same(r.set(k, 'one', ex: 100, nx: true), true)
    same(r.set(k, 'two', nx: true), false)
    same(r.append(k, '+two'), 7)
    same(r.getrange(k, 3, -1), '+two')
    same(r.getdel(k), 'one+two')
    same(r.incrby(k, 5), 5)
    same(r.incrbyfloat(k, 0.5), 5.5)
    same(r.mset("#{TAG}a", 1, "#{TAG}b", 2), 'OK')
    same(r.mget("#{TAG}a", "#{TAG}none", "#{TAG}b"), ['1', nil, '2'])
    binary = (0..255).map(&:chr).join.b * 4096
    r.set("#{TAG}binary", binary)
    same(r.get("#{TAG}binary").b == binary, true)
  },
  'keys' => lambda { |r|
    a, b, c = %w[a b c].map { |s| "#{TAG}key:#{s}" }
    r.del(a, b, c)
    r.set(a, 'value')
    same(r.exists(a, b), 1)
    same(r.expire(a, 1000), true)
    same(r.ttl(a) > 900, true)
    same(r.type(a), 'string')
    same(r.rename(a, b), 'OK')
    same(r.copy(b, c), true)
    same(r.restore(a, 0, r.dump(c)), 'OK')
    same(r.unlink(a, b, c), 3)
    r.rpush(a, [3, 1, 2])
    same(r.sort(a, order: 'DESC'), %w[3 2 1])
  },
  'keys of all groups' => lambda { |r|
    many = (0...64).map { |i| "#{SPREAD}many:#{i}" }
    same(r.mset(*many.each_with_index.to_a.flatten), 'OK')
    same(r.mget(*many), (0...64).map(&:to_s))
    same(r.exists(*many), 64)
    same(r.unlink(*many.last(32)), 32)
    same(r.del(*many), 32)
  },
  'hashes' => lambda { |r|
    k = "#{TAG}hash"
    r.del(k)
    same(r.hset(k, { 'a' => 1, 'b' => 'two' }), 2)
    same(r.hgetall(k), { 'a' => '1', 'b' => 'two' })
    same(r.hincrby(k, 'a', 41), 42)
    same(r.hmget(k, 'a', 'none'), ['42', nil])
    same(r.hdel(k, 'a'), 1)
  },
  'lists' => lambda { |r|
    k = "#{TAG}list"
    r.del(k, "#{k}2")
    same(r.rpush(k, %w[a b c d]), 4)
    same(r.lrange(k, 0, -1), %w[a b c d])
    same(r.lmove(k, "#{k}2", 'LEFT', 'RIGHT'), 'a')
    same(r.rpoplpush(k, "#{k}2"), 'd')
    same(r.lpop(k, 2), %w[b c])
  },
  'sets' => lambda { |r|
    a, b = "#{TAG}set:a", "#{TAG}set:b"
    r.del(a, b)
    same(r.sadd(a, %w[x y z]), 3)
    r.sadd(b, %w[y z w])
    same(r.smembers(a).sort, %w[x y z])
    same(r.sinter(a, b).sort, %w[y z])
    same(r.sunionstore("#{TAG}set:u", a, b), 4)
  },
  'sorted sets' => lambda { |r|
    k = "#{TAG}zset"
    r.del(k)
    same(r.zadd(k, [[1, 'a'], [2.5, 'b'], ['inf', 'c']]), 3)
    same(r.zrange(k, 0, -1, with_scores: true), [['a', 1.0], ['b', 2.5], ['c', Float::INFINITY]])
    same(r.zincrby(k, 2, 'a'), 3.0)
    same(r.zrangebyscore(k, 2, 3), %w[b a])
    same(r.zpopmin(k), ['b', 2.5])
  },
  'streams' => lambda { |r|
    k = "#{TAG}stream"
    r.del(k)
    same(r.xadd(k, { 'f' => 'v' }, id: '1-1'), '1-1')
    r.xadd(k, { 'f' => 'w' }, id: '1-2')
    same(r.xrange(k), [['1-1', { 'f' => 'v' }], ['1-2', { 'f' => 'w' }]])
    same(r.xgroup(:create, k, 'g', '0'), 'OK')
    same(r.xreadgroup('g', 'c', k, '>')[k].length, 2)
    same(r.xack(k, 'g', '1-1'), 1)
    same(r.xpending(k, 'g')['size'], 1)
    same(r.xinfo(:stream, k)['length'], 2)
  },
  'geo' => lambda { |r|
    k = "#{TAG}geo"
    r.del(k)
    same(r.geoadd(k, 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), 2)
    same(r.geodist(k, 'Palermo', 'Catania', 'km'), '166.2742')
    same(r.georadius(k, 15, 37, 100, 'km'), ['Catania'])
  },
  'hyperloglog and bitmaps' => lambda { |r|
    r.del("#{TAG}hll", "#{TAG}hll2", "#{TAG}bits")
    same(r.pfadd("#{TAG}hll", %w[a b c]), true)
    r.pfadd("#{TAG}hll2", %w[c d])
    same(r.pfcount("#{TAG}hll", "#{TAG}hll2"), 4)
    same(r.setbit("#{TAG}bits", 7, 1), 0)
    same(r.bitcount("#{TAG}bits"), 1)
  },
  'pipeline' => lambda { |r|
    got = r.pipelined { |p| 500.times { |i| p.set("#{SPREAD}p:#{i}", i); p.get("#{SPREAD}p:#{i}") } }
    same(got, (0...500).flat_map { |i| ['OK', i.to_s] })
    r.set("#{TAG}text", 'text')
    fails('WRONGTYPE') { r.pipelined { |p| p.lpush("#{TAG}text", 1); p.get("#{TAG}text") } }
    same(r.get("#{TAG}text"), 'text')
  },
  'transaction' => lambda { |r|
    r.del("#{TAG}t")
    same(r.multi { |m| m.incr("#{TAG}t"); m.incr("#{TAG}t"); m.get("#{TAG}t") }, [1, 2, '2'])
    fails('wrong number of arguments') { r.multi { |m| m.set("#{TAG}t", 'never'); m.call(['SET', "#{TAG}t"]) } }
    same(r.get("#{TAG}t"), '2')
    same(r.multi { |m| m.ping; m.set("#{TAG}t", 'text') }, %w[PONG OK])
  },
  'watch' => lambda { |r|
    other = open_client
    other.set("#{TAG}w", 1)
    conflict = r.watch("#{TAG}w") do |c|
      other.set("#{TAG}w", 2)
      c.multi { |m| m.set("#{TAG}w", 3) }
    end
    same(conflict, nil)
    same(r.watch("#{TAG}w") { |c| c.multi { |m| m.incr("#{TAG}w") } }, [3])
    same(r.watch("#{TAG}w"), 'OK')
    other.set("#{TAG}w", 4)
    same(r.unwatch, 'OK')
    same(r.multi { |m| m.get("#{TAG}w") }, ['4'])
  },
  'pub/sub' => lambda { |r|
    got = []
    open_client.subscribe("#{SPREAD}one", "#{SPREAD}two") do |on|
      on.subscribe do |channel, count|
        got << [channel, count]
        if count == 2
          same(r.publish("#{SPREAD}one", 'first'), 1)
          same(r.publish("#{SPREAD}nobody", 'lost'), 0)
          same(r.pubsub(:channels, "#{SPREAD}*").sort, ["#{SPREAD}one", "#{SPREAD}two"])
          r.publish("#{SPREAD}two", 'last')
        end
      end
      on.message do |channel, message|
        got << [channel, message]
        OPEN.last.unsubscribe if message == 'last'
      end
    end
    same(got.first(2), [["#{SPREAD}one", 1], ["#{SPREAD}two", 2]])
    same(got.drop(2).sort, [["#{SPREAD}one", 'first'], ["#{SPREAD}two", 'last']])
    patterns = open_client
    patterns.psubscribe("#{SPREAD}p*") do |on|
      on.psubscribe { |*| same(r.publish("#{SPREAD}pattern", 'second'), 1) }
      on.pmessage do |pattern, channel, message|
        same([pattern, channel, message], ["#{SPREAD}p*", "#{SPREAD}pattern", 'second'])
        patterns.punsubscribe
      end
    end
    same(patterns.get("#{TAG}none"), nil)
  },
  'scripts' => lambda { |r|
    k = "#{TAG}script"
    r.del(k)
    sha = r.script(:load, "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])} -- #{rand}")
    same(r.script(:exists, [sha, '0' * 40]), [true, false])
    same(r.evalsha(sha, [k], ['x']), [k, 'x', 1])
    same(r.eval("return redis.call('GET', KEYS[1])", [k]), '1')
    fails('NOSCRIPT') { r.evalsha('1' * 40, [k]) }
    fails('MINE of the script') { r.eval("return redis.error_reply('MINE of the script')", [k]) }
  },
  'functions' => lambda { |r|
    library = "ruby_#{Process.pid}"
    code = "#!lua name=#{library}\nredis.register_function('#{library}_f', function(keys, args) return args[1] end)"
    same(r.call(['FUNCTION', 'LOAD', code]), library)
    same(r.call(['FCALL', "#{library}_f", 1, "#{TAG}f", 'hello']), 'hello')
    same(r.call(['FUNCTION', 'DELETE', library]), 'OK')
  },
  'blocking' => lambda { |r|
    other = open_client
    k = "#{TAG}queue"
    r.del(k, "#{k}2", "#{k}3")
    popped = Thread.new { r.blpop([k, "#{k}2"], timeout: 30) }
    other.rpush("#{k}2", 'job')
    same(popped.value, ["#{k}2", 'job'])
    same(r.brpop(k, timeout: 0.01), nil)
    moved = Thread.new { r.blmove(k, "#{k}2", 'LEFT', 'RIGHT', timeout: 30) }
    other.rpush(k, 'moved')
    same(moved.value, 'moved')
    lowest = Thread.new { r.bzpopmin("#{k}3", timeout: 30) }
    other.zadd("#{k}3", 1, 'm')
    same(lowest.value, ["#{k}3", 'm', 1.0])
    same(r.ping, 'PONG')
  },
  'blocking streams' => lambda { |r|
    other = open_client
    k = "#{TAG}feed"
    r.del(k)
    read = Thread.new { r.xread(k, '0', block: 30_000) }
    other.xadd(k, { 'f' => 'v' }, id: '5-1')
    same(read.value, { k => [['5-1', { 'f' => 'v' }]] })
    same(r.xread(k, '$', block: 10), {})
  },
  'scan' => lambda { |r|
    many = (0...300).map { |i| "#{SPREAD}scan:#{i}" }
    r.pipelined { |p| many.each { |k| p.set(k, 1) } }
    same(r.scan_each(match: "#{SPREAD}scan:*", count: 50).to_a.uniq.sort, many.sort)
    r.del("#{TAG}h", "#{TAG}s")
    r.hset("#{TAG}h", many.to_h { |k| [k, 1] })
    same(r.hscan_each("#{TAG}h").to_a.length, 300)
    r.sadd("#{TAG}s", many)
    same(r.sscan_each("#{TAG}s").to_a.uniq.length, 300)
  },
  'database' => lambda { |r|
    one = open_client(db: 1)
    r.set("#{TAG}db", 'zero')
    one.set("#{TAG}db", 'one')
    same(r.get("#{TAG}db"), 'zero')
    same(r.select(1), 'OK')
    same(r.get("#{TAG}db"), 'one')
    same(r.del("#{TAG}db"), 1)
    fails('DB index is out of range') { r.select(16) }
  },
  'client commands' => lambda { |r|
    id = r.call(%w[CLIENT ID])
    same(r.call(%w[CLIENT SETNAME renamed]), 'OK')
    same(r.client(:list).select { |c| c['id'] == id.to_s }.map { |c| c['name'] }, ['renamed'])
    same(r.call(%w[CLIENT INFO]).include?("id=#{id} "), true)
    same(r.call(%w[ECHO hello]), 'hello')
    same(r.time.length, 2)
    same(r.info.key?('redis_version'), true)
    same(r.call(%w[COMMAND COUNT]) > 200, true)
  },
  'pool' => lambda { |r|
    r.del("#{TAG}pool")
    clients = Array.new(8) { open_client }
    clients.map { |c| Thread.new { 20.times { c.multi { |m| m.incr("#{TAG}pool") } } } }.each(&:join)
    same(r.get("#{TAG}pool"), '160')
  },
  'errors' => lambda { |r|
    r.set("#{TAG}text", 'text')
    fails('WRONGTYPE') { r.lpush("#{TAG}text", 1) }
    fails('not an integer') { r.incr("#{TAG}text") }
    fails('unknown command') { r.call(%w[NOSUCHCOMMAND]) }
    fails('wrong number of arguments') { r.call(%w[GET]) }
  },
  'reconnect' => lambda { |r|
    other = open_client
    same(other.call(['CLIENT', 'KILL', 'ID', r.call(%w[CLIENT ID])]), 1)
    until_true do
      r.set("#{TAG}again", 1)
    rescue Redis::BaseConnectionError
      false
    end
    same(r.get("#{TAG}again"), '1')
  },
  'monitor' => lambda { |r|
    m = open_client
    m.monitor do |line|
      if line == 'OK'
        r.get("#{TAG}monitored")
      elsif line.downcase.include?(%("get" "#{TAG}monitored"))
        break
      end
    end
  }
}.freeze

$stdout.sync = true
Thread.report_on_exception = false
puts "client redis-rb #{Redis::VERSION}"
FEATURES.each do |name, feature|
  begin
    Timeout.timeout(LIMIT) { feature.call(open_client) }
    puts "ok #{name}"
  rescue StandardError => e
    puts "fail #{name}: #{e.message.split.join(' ')}"
  end
  OPEN.each do |c|
    c.close
  rescue StandardError
    next # it is closed already
  end
  OPEN.clear
end
exit!(0) # whatever threads a broken connection has left behind
