// ioredis, in the version and with the protocol that are named on the command line.
import { createRequire } from 'node:module';
import { fails, run, same, spread, tag, target, until } from './features.mjs';

const [name, protocol] = process.argv.slice(2);
const { Redis } = await import(name);
const { version } = createRequire(import.meta.url)(`${name}/package.json`);

const open = (options) => {
	const client = new Redis({
		...target, connectionName: 'ioredis-program', protocol: Number(protocol), lazyConnect: true, maxRetriesPerRequest: 2,
		retryStrategy: (times) => (times > 5 ? null : 10), ...options,
	});
	client.on('error', () => {}); // what matters fails a request
	return [client, client.connect()];
};

const close = (client) => client.disconnect();

await run(`ioredis ${version} RESP${protocol}`, open, close, {
	async connect(r, another) {
		same(await r.ping(), 'PONG');
		same(await r.client('GETNAME'), 'ioredis-program');
		const named = await another({ username: 'default', connectionName: 'another-program' });
		same(await named.client('GETNAME'), 'another-program');
		const stranger = new Redis({ ...target, password: 'wrong', lazyConnect: true, retryStrategy: null, protocol: Number(protocol) });
		const refused = new Promise((resolve) => { stranger.on('error', resolve); });
		await stranger.connect().catch(() => {});
		same(/WRONGPASS|invalid password/.test((await refused).message), true);
		stranger.disconnect();
	},
	async strings(r) {
		const k = tag + 'string';
		await r.del(k);
		same(await r.set(k, 'one', 'EX', 100, 'NX'), 'OK');
		same(await r.set(k, 'two', 'NX'), null);
		same(await r.get(k), 'one');
		same(await r.append(k, '+two'), 7);
		same(await r.getrange(k, 3, -1), '+two');
		same(await r.strlen(k), 7);
		same(await r.setrange(k, 0, 'ONE'), 7);
		same(await r.getset(k, '10'), 'ONE+two');
		same(await r.incrby(k, 5), 15);
		same(await r.incrbyfloat(k, 0.5), '15.5');
		same(await r.mset(tag + 'a', 1, tag + 'b', 2), 'OK');
		same(await r.mget(tag + 'a', tag + 'none', tag + 'b'), ['1', null, '2']);
		same(await r.getdel(k), '15.5');
		same(await r.get(k), null);
		const binary = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => i & 255));
		await r.set(tag + 'binary', binary);
		same((await r.getBuffer(tag + 'binary')).equals(binary), true);
	},
	async keys(r) {
		const [a, b, c] = [tag + 'key:a', tag + 'key:b', tag + 'key:c'];
		await r.del(a, b, c);
		await r.set(a, 'value');
		same(await r.exists(a, b), 1);
		same(await r.expire(a, 1000), 1);
		same((await r.ttl(a)) > 900, true);
		same(await r.persist(a), 1);
		same(await r.type(a), 'string');
		same(await r.rename(a, b), 'OK');
		same(await r.copy(b, c), 1);
		same(await r.object('ENCODING', c), 'embstr');
		const image = await r.dumpBuffer(c);
		same(await r.restore(a, 0, image), 'OK');
		same(await r.get(a), 'value');
		same(await r.touch(a, b, c), 3);
		same(await r.unlink(a, b, c), 3);
		await r.rpush(a, 3, 1, 2);
		same(await r.sort(a, 'DESC'), ['3', '2', '1']);
	},
	async 'keys of all groups'(r) {
		const keys = Array.from({ length: 64 }, (_, i) => `${spread}many:${i}`);
		same(await r.mset(...keys.flatMap((k, i) => [k, i])), 'OK');
		same(await r.mget(...keys), keys.map((_, i) => String(i)));
		same(await r.exists(...keys), 64);
		same(await r.touch(...keys), 64);
		same(await r.unlink(...keys.slice(32)), 32);
		same(await r.del(...keys), 32);
	},
	async hashes(r) {
		const k = tag + 'hash';
		await r.del(k);
		same(await r.hset(k, { a: 1, b: 'two' }), 2);
		same(await r.hget(k, 'b'), 'two');
		same(await r.hmget(k, 'a', 'none'), ['1', null]);
		same(await r.hgetall(k), { a: '1', b: 'two' });
		same(await r.hincrby(k, 'a', 41), 42);
		same(await r.hincrbyfloat(k, 'a', 0.5), '42.5');
		same(await r.hkeys(k), ['a', 'b']);
		same(await r.hdel(k, 'a', 'none'), 1);
		same(await r.hexists(k, 'a'), 0);
	},
	async lists(r) {
		const k = tag + 'list';
		await r.del(k, k + '2');
		same(await r.rpush(k, 'a', 'b', 'c', 'd'), 4);
		same(await r.lrange(k, 0, -1), ['a', 'b', 'c', 'd']);
		same(await r.lpos(k, 'c'), 2);
		same(await r.linsert(k, 'BEFORE', 'b', 'x'), 5);
		same(await r.lmove(k, k + '2', 'LEFT', 'RIGHT'), 'a');
		same(await r.rpoplpush(k, k + '2'), 'd');
		same(await r.lmpop(2, k + 'none', k + '2', 'LEFT', 'COUNT', 1), [k + '2', ['d']]);
		same(await r.lpop(k, 2), ['x', 'b']);
		same(await r.ltrim(k, 1, 0), 'OK');
	},
	async sets(r) {
		const [a, b] = [tag + 'set:a', tag + 'set:b'];
		await r.del(a, b);
		same(await r.sadd(a, 'x', 'y', 'z'), 3);
		await r.sadd(b, 'y', 'z', 'w');
		same((await r.smembers(a)).sort(), ['x', 'y', 'z']);
		same(await r.smismember(a, 'x', 'w'), [1, 0]);
		same((await r.sinter(a, b)).sort(), ['y', 'z']);
		same(await r.sdiff(a, b), ['x']);
		same(await r.sunionstore(tag + 'set:u', a, b), 4);
		same(await r.smove(a, b, 'x'), 1);
		same(await r.scard(b), 4);
	},
	async 'sorted sets'(r) {
		const k = tag + 'zset';
		await r.del(k);
		same(await r.zadd(k, 1, 'a', 2.5, 'b', 'inf', 'c'), 3);
		same((await r.zrange(k, 0, -1, 'WITHSCORES')).flat().map(String), ['a', '1', 'b', '2.5', 'c', 'inf']);
		same(String(await r.zscore(k, 'b')), '2.5');
		same(await r.zrank(k, 'c'), 2);
		same(String(await r.zincrby(k, 2, 'a')), '3');
		same(await r.zrangebyscore(k, 2, 3), ['b', 'a']);
		same((await r.zpopmin(k)).flat().map(String), ['b', '2.5']);
		same(await r.zunionstore(tag + 'zset:u', 2, k, tag + 'set:u', 'AGGREGATE', 'MAX') >= 2, true);
	},
	async streams(r) {
		const k = tag + 'stream';
		await r.del(k);
		same(await r.xadd(k, '1-1', 'f', 'v'), '1-1');
		same(await r.xadd(k, 'MAXLEN', '~', 100, '1-2', 'f', 'w'), '1-2');
		same(await r.xrange(k, '-', '+'), [['1-1', ['f', 'v']], ['1-2', ['f', 'w']]]);
		same(await r.xlen(k), 2);
		same(await r.xgroup('CREATE', k, 'g', '0'), 'OK');
		const got = await r.xreadgroup('GROUP', 'g', 'c', 'COUNT', 10, 'STREAMS', k, '>');
		same(JSON.stringify(got), JSON.stringify([[k, [['1-1', ['f', 'v']], ['1-2', ['f', 'w']]]]]));
		same(await r.xack(k, 'g', '1-1'), 1);
		same((await r.xpending(k, 'g'))[0], 1);
		same((await r.xinfo('STREAM', k)).includes('length'), true);
		same(await r.xtrim(k, 'MAXLEN', 1), 1);
	},
	async geo(r) {
		const k = tag + 'geo';
		await r.del(k);
		same(await r.geoadd(k, 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), 2);
		same(String(await r.geodist(k, 'Palermo', 'Catania', 'km')), '166.2742');
		same(await r.geosearch(k, 'FROMLONLAT', 15, 37, 'BYRADIUS', 100, 'km', 'ASC'), ['Catania']);
		same(await r.geosearchstore(k + ':2', k, 'FROMLONLAT', 15, 37, 'BYRADIUS', 200, 'km'), 2);
		same(await r.geohash(k, 'Palermo'), ['sqc8b49rny0']);
	},
	async 'hyperloglog and bitmaps'(r) {
		await r.del(tag + 'hll', tag + 'hll2', tag + 'bits');
		same(await r.pfadd(tag + 'hll', 'a', 'b', 'c'), 1);
		same(await r.pfadd(tag + 'hll2', 'c', 'd'), 1);
		same(await r.pfcount(tag + 'hll', tag + 'hll2'), 4);
		same(await r.pfmerge(tag + 'hll', tag + 'hll2'), 'OK');
		same(await r.setbit(tag + 'bits', 7, 1), 0);
		same(await r.getbit(tag + 'bits', 7), 1);
		same(await r.bitcount(tag + 'bits'), 1);
		same(await r.bitop('NOT', tag + 'bits2', tag + 'bits'), 1);
		same(await r.bitfield(tag + 'bits', 'SET', 'u8', 8, 200, 'GET', 'u8', 8), [0, 200]);
	},
	async pipeline(r) {
		const p = r.pipeline().del(tag + 'count');
		for (let i = 0; i < 1000; i++) p.incr(tag + 'count');
		p.lpush(tag + 'count', 'wrong').get(tag + 'count');
		const replies = await p.exec();
		same(replies.length, 1003);
		same(replies[1000], [null, 1000]);
		same(replies[1001][0].message.startsWith('WRONGTYPE'), true);
		same(replies[1002], [null, '1000']);
		const spreadOut = await Promise.all(Array.from({ length: 200 }, (_, i) => r.set(`${spread}p:${i}`, i).then(() => r.get(`${spread}p:${i}`))));
		same(spreadOut, Array.from({ length: 200 }, (_, i) => String(i)));
	},
	async 'automatic pipeline'(_, another) {
		const r = await another({ enableAutoPipelining: true });
		const keys = Array.from({ length: 100 }, (_, i) => `${spread}auto:${i}`);
		await Promise.all(keys.map((k) => r.set(k, k)));
		same(await Promise.all(keys.map((k) => r.get(k))), keys);
	},
	async transaction(r) {
		await r.del(tag + 't');
		same(await r.multi().incr(tag + 't').incr(tag + 't').get(tag + 't').exec(), [[null, 1], [null, 2], [null, '2']]);
		const mixed = await r.multi().set(tag + 't', 'text').lpush(tag + 't', 1).get(tag + 't').exec();
		same([mixed[0], mixed[1][0].message.startsWith('WRONGTYPE'), mixed[2]], [[null, 'OK'], true, [null, 'text']]);
		await fails(r.multi().set(tag + 't').exec(), 'EXECABORT');
		same(await r.multi({ pipeline: false }), 'OK');
		same(await r.set(tag + 't', 'never'), 'QUEUED');
		same(await r.discard(), 'OK');
		same(await r.get(tag + 't'), 'text');
		same(await r.multi().exec(), []);
	},
	async watch(r, another) {
		const other = await another();
		await r.set(tag + 'w', 1);
		same(await r.watch(tag + 'w'), 'OK');
		await other.set(tag + 'w', 2);
		same(await r.multi().set(tag + 'w', 3).exec(), null);
		same(await r.get(tag + 'w'), '2');
		await r.watch(tag + 'w');
		same(await r.multi().set(tag + 'w', 3).exec(), [[null, 'OK']]);
		await r.watch(tag + 'w');
		await other.set(tag + 'w', 4);
		same(await r.unwatch(), 'OK');
		same(await r.multi().get(tag + 'w').exec(), [[null, '4']]);
	},
	async 'pub/sub'(publisher, another) {
		const subscriber = await another();
		const got = [];
		subscriber.on('message', (channel, message) => got.push([channel, message]));
		subscriber.on('pmessage', (pattern, channel, message) => got.push([pattern, channel, message]));
		same(await subscriber.subscribe(spread + 'one', spread + 'two'), 2);
		same(await subscriber.psubscribe(spread + 'p*'), 3);
		same(await publisher.publish(spread + 'one', 'first'), 1);
		same(await publisher.publish(spread + 'nobody', 'lost'), 0);
		await until(() => got.length === 1);
		same(await publisher.publish(spread + 'pattern', 'second'), 1);
		await until(() => got.length === 2);
		same(await subscriber.unsubscribe(spread + 'one'), 2);
		await publisher.publish(spread + 'one', 'lost');
		await publisher.publish(spread + 'two', 'third');
		await until(() => got.length === 3);
		same(got, [[spread + 'one', 'first'], [spread + 'p*', spread + 'pattern', 'second'], [spread + 'two', 'third']]);
		same(await publisher.pubsub('CHANNELS', spread + '*'), [spread + 'two']);
		same((await publisher.pubsub('NUMSUB', spread + 'two')).map(String), [spread + 'two', '1']);
		same(await subscriber.punsubscribe(spread + 'p*'), 1);
		same(await subscriber.unsubscribe(), 0);
		same(await subscriber.get(tag + 'none'), null);
	},
	async scripts(r) {
		const script = `return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])} -- ${Date.now()} ${Math.random()}`;
		const k = tag + 'script';
		await r.del(k);
		const sha = await r.script('LOAD', script);
		same(await r.script('EXISTS', sha, '0'.repeat(40)), [1, 0]);
		same(await r.evalsha(sha, 1, k, 'x'), [k, 'x', 1]);
		same(await r.eval('return redis.call("GET", KEYS[1])', 1, k), '1');
		await fails(r.evalsha('1'.repeat(40), 1, k), 'NOSCRIPT');
		await fails(r.eval('return redis.error_reply("MINE of the script")', 1, k), 'MINE of the script');
		r.defineCommand('twice', { numberOfKeys: 1, lua: `return redis.call('INCRBY', KEYS[1], ARGV[1] * 2) -- ${Math.random()}` });
		same(await r.twice(k, 20), 41);
		same(await r.twice(k, 1), 43);
	},
	async functions(r) {
		const library = `ioredis_${process.pid}`;
		same(await r.function('LOAD', `#!lua name=${library}\nredis.register_function('${library}_f', function(keys, args) return args[1] end)`), library);
		same(await r.fcall(`${library}_f`, 1, tag + 'f', 'hello'), 'hello');
		same((await r.function('LIST', 'LIBRARYNAME', library)).length, 1);
		same(await r.function('DELETE', library), 'OK');
	},
	async blocking(r, another) {
		const other = await another();
		const k = tag + 'queue';
		await r.del(k, k + '2', k + '3', tag + 'waits');
		const popped = Promise.all([r.set(tag + 'waits', 1), r.blpop(k, k + '2', 30)]);
		await until(async () => await other.get(tag + 'waits') === '1');
		await other.rpush(k + '2', 'job');
		same((await popped)[1], [k + '2', 'job']);
		same(await r.brpop(k, 0.01), null);
		const moved = r.blmove(k, k + '2', 'LEFT', 'RIGHT', 30);
		await other.rpush(k, 'moved');
		same(await moved, 'moved');
		const lowest = r.bzpopmin(k + '3', 30);
		await other.zadd(k + '3', 1, 'm');
		same((await lowest).flat().map(String), [k + '3', 'm', '1']);
		const lmpop = r.blmpop(30, 1, k, 'LEFT');
		await other.rpush(k, 'x');
		same(await lmpop, [k, ['x']]);
		same(await r.ping(), 'PONG');
	},
	async 'blocking streams'(r, another) {
		const other = await another();
		const k = tag + 'feed';
		await r.del(k);
		await r.xgroup('CREATE', k, 'g', '$', 'MKSTREAM');
		const read = r.xread('BLOCK', 30000, 'STREAMS', k, '0');
		await other.xadd(k, '5-1', 'f', 'v');
		same(JSON.stringify(await read), JSON.stringify([[k, [['5-1', ['f', 'v']]]]]));
		same((await r.xreadgroup('GROUP', 'g', 'c', 'BLOCK', 30000, 'STREAMS', k, '>')).length, 1);
		same(await r.xread('BLOCK', 10, 'STREAMS', k, '$'), null);
	},
	async scan(r) {
		const keys = Array.from({ length: 300 }, (_, i) => `${spread}scan:${i}`);
		await Promise.all(keys.map((k) => r.set(k, 1)));
		const seen = new Set();
		for await (const some of r.scanStream({ match: `${spread}scan:*`, count: 50 })) some.forEach((k) => seen.add(k));
		same([...seen].sort(), keys.sort());
		await r.del(tag + 'h', tag + 's', tag + 'z');
		await r.hset(tag + 'h', Object.fromEntries(keys.map((k) => [k, 1])));
		let fields = 0;
		for await (const some of r.hscanStream(tag + 'h')) fields += some.length / 2;
		same(fields, 300);
		await r.sadd(tag + 's', keys);
		let members = 0;
		for await (const some of r.sscanStream(tag + 's')) members += some.length;
		same(members, 300);
		await r.zadd(tag + 'z', 1, 'm');
		same((await r.zscan(tag + 'z', 0)).flat().map(String), ['0', 'm', '1']);
	},
	async database(r, another) {
		const one = await another({ db: 1 });
		await r.set(tag + 'db', 'zero');
		await one.set(tag + 'db', 'one');
		same(await r.get(tag + 'db'), 'zero');
		same(await r.select(1), 'OK');
		same(await r.get(tag + 'db'), 'one');
		await fails(r.select(16), 'ERR DB index is out of range');
		same(await r.move(tag + 'db', 2), 1);
		same(await r.select(2), 'OK');
		same(await r.del(tag + 'db'), 1);
	},
	async 'client commands'(r) {
		const id = await r.client('ID');
		same(Number.isInteger(id), true);
		same(await r.client('SETNAME', 'renamed'), 'OK');
		same(await r.client('GETNAME'), 'renamed');
		same((await r.client('INFO')).includes(`id=${id} `), true);
		same((await r.client('LIST', 'ID', id)).includes('name=renamed'), true);
		same(await r.client('NO-EVICT', 'ON'), 'OK');
		same(await r.client('UNBLOCK', id), 0);
		same(await r.echo('hello'), 'hello');
		same((await r.time()).length, 2);
		same((await r.info()).includes('redis_version:'), true);
		same(await r.command('COUNT') > 200, true);
		same((await r.command('INFO', 'get'))[0][0], 'get');
	},
	async errors(r) {
		await r.set(tag + 'text', 'text');
		await fails(r.lpush(tag + 'text', 1), 'WRONGTYPE');
		await fails(r.incr(tag + 'text'), 'ERR value is not an integer');
		await fails(r.call('NOSUCHCOMMAND', 'x'), 'ERR unknown command');
		await fails(r.call('GET'), 'ERR wrong number of arguments');
		await fails(r.call('OBJECT', 'NOSUCH', 'x'), 'ERR unknown subcommand', 'ERR Unknown subcommand');
	},
	async reconnect(r, another) {
		const other = await another();
		const again = new Promise((resolve) => { r.once('reconnecting', resolve); });
		same(await other.client('KILL', 'ID', await r.client('ID')), 1);
		await again;
		same(await r.set(tag + 'again', 1), 'OK');
		same(await r.client('GETNAME'), 'ioredis-program');
		const subscriber = await another();
		const got = [];
		subscriber.on('message', (_, message) => got.push(message));
		const id = await subscriber.client('ID');
		await subscriber.subscribe(spread + 'again');
		same(await other.client('KILL', 'ID', id), 1);
		await until(async () => await other.publish(spread + 'again', 'm') === 1);
		await until(() => got.length >= 1);
	},
	async monitor(r, another) {
		const m = await (await another()).monitor();
		const seen = [];
		m.on('monitor', (_, args) => seen.push(args));
		await until(async () => {
			await r.get(tag + 'monitored');
			return seen.some((args) => args.join(' ').toLowerCase() === `get ${tag}monitored`);
		});
		m.disconnect();
	},
});
