// node-redis, in the version and with the protocol that are named on the command line.
import { createRequire } from 'node:module';
import { fails, run, same, spread, tag, target, until } from './features.mjs';

const [name, protocol] = process.argv.slice(2);
const redis = await import(name);
const { version } = createRequire(import.meta.url)(`${name}/package.json`);
const major = Number(version.split('.')[0]);
const { host, port, password } = target;

const settings = (options) => ({
	password, name: 'node-redis-program', ...(major > 4 && { RESP: Number(protocol) }), ...(major === 5 && { unstableResp3: true }), ...options,
	socket: { host, port, reconnectStrategy: (times) => (times > 5 ? new Error('given up') : 10) },
});

const open = (options) => {
	const client = redis.createClient(settings(options));
	client.on('error', () => {}); // what matters fails a request
	return [client, client.connect()];
};

const close = (client) => {
	try {
		Promise.resolve(major > 4 ? client.destroy() : client.disconnect()).catch(() => {});
	} catch {
		// it is closed already
	}
};

const once = (client, event) => new Promise((resolve) => { client.once(event, resolve); });
const plain = (value) => JSON.parse(JSON.stringify(value)); // objects without a prototype are objects all the same

const features = {
	async connect(r, another) {
		same(await r.ping(), 'PONG');
		same(await r.clientGetName(), 'node-redis-program');
		const named = await another({ username: 'default', name: 'another-program' });
		same(await named.clientGetName(), 'another-program');
		const url = await another({ url: `redis://:${password}@${host}:${port}/1` });
		same(await url.ping(), 'PONG');
		await fails(another({ password: 'wrong' }), 'WRONGPASS', 'given up', 'invalid password');
	},
	async strings(r) {
		const k = tag + 'string';
		await r.del(k);
		same(await r.set(k, 'one', { EX: 100, NX: true }), 'OK');
		same(await r.set(k, 'two', { NX: true }), null);
		same(await r.get(k), 'one');
		same(await r.append(k, '+two'), 7);
		same(await r.getRange(k, 3, -1), '+two');
		same(await r.getDel(k), 'one+two');
		same(await r.incrBy(k, 5), 5);
		same(String(await r.incrByFloat(k, 0.5)), '5.5');
		same(await r.mSet({ [tag + 'a']: '1', [tag + 'b']: '2' }), 'OK');
		same(await r.mGet([tag + 'a', tag + 'none', tag + 'b']), ['1', null, '2']);
		const text = 'ü'.repeat(1 << 19);
		await r.set(tag + 'large', text);
		same(await r.get(tag + 'large') === text, true);
	},
	async keys(r) {
		const [a, b, c] = [tag + 'key:a', tag + 'key:b', tag + 'key:c'];
		await r.del([a, b, c]);
		await r.set(a, 'value');
		same(await r.exists([a, b]), 1);
		same(Boolean(await r.expire(a, 1000)), true);
		same((await r.ttl(a)) > 900, true);
		same(await r.type(a), 'string');
		same(await r.rename(a, b), 'OK');
		same(Boolean(await r.copy(b, c)), true);
		same(await r.unlink([a, b, c]), 2);
		await r.rPush(a, ['3', '1', '2']);
		same(await r.sort(a, { DIRECTION: 'DESC' }), ['3', '2', '1']);
	},
	async 'keys of all groups'(r) {
		const keys = Array.from({ length: 64 }, (_, i) => `${spread}many:${i}`);
		same(await r.mSet(keys.map((k, i) => [k, String(i)])), 'OK');
		same(await r.mGet(keys), keys.map((_, i) => String(i)));
		same(await r.exists(keys), 64);
		same(await r.unlink(keys.slice(32)), 32);
		same(await r.del(keys), 32);
	},
	async hashes(r) {
		const k = tag + 'hash';
		await r.del(k);
		same(await r.hSet(k, { a: 1, b: 'two' }), 2);
		same(await r.hGet(k, 'b'), 'two');
		same(plain(await r.hGetAll(k)), { a: '1', b: 'two' });
		same(await r.hIncrBy(k, 'a', 41), 42);
		same(await r.hmGet(k, ['a', 'none']), ['42', null]);
		same(await r.hDel(k, 'a'), 1);
	},
	async lists(r) {
		const k = tag + 'list';
		await r.del([k, k + '2']);
		same(await r.rPush(k, ['a', 'b', 'c', 'd']), 4);
		same(await r.lRange(k, 0, -1), ['a', 'b', 'c', 'd']);
		same(await r.lMove(k, k + '2', 'LEFT', 'RIGHT'), 'a');
		same(await r.rPopLPush(k, k + '2'), 'd');
		same(plain(await r.lmPop([k + 'none', k + '2'], 'LEFT', { COUNT: 1 })), [k + '2', ['d']]);
		same(await r.lPop(k), 'b');
	},
	async sets(r) {
		const [a, b] = [tag + 'set:a', tag + 'set:b'];
		await r.del([a, b]);
		same(await r.sAdd(a, ['x', 'y', 'z']), 3);
		await r.sAdd(b, ['y', 'z', 'w']);
		same([...await r.sMembers(a)].sort(), ['x', 'y', 'z']);
		same((await r.smIsMember(a, ['x', 'w'])).map(Boolean), [true, false]);
		same([...await r.sInter([a, b])].sort(), ['y', 'z']);
		same(await r.sUnionStore(tag + 'set:u', [a, b]), 4);
	},
	async 'sorted sets'(r) {
		const k = tag + 'zset';
		await r.del(k);
		same(await r.zAdd(k, [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }, { score: 9, value: 'c' }]), 3);
		same(plain(await r.zRangeWithScores(k, 0, 1)), [{ value: 'a', score: 1 }, { value: 'b', score: 2.5 }]);
		same(await r.zScore(k, 'c'), 9);
		same(await r.zIncrBy(k, 2, 'a'), 3);
		same(await r.zRangeByScore(k, 2, 3), ['b', 'a']);
		same(plain(await r.zPopMin(k)), { value: 'b', score: 2.5 });
	},
	async streams(r) {
		const k = tag + 'stream';
		await r.del(k);
		same(await r.xAdd(k, '1-1', { f: 'v' }), '1-1');
		same(await r.xAdd(k, '1-2', { f: 'w' }), '1-2');
		same(plain(await r.xRange(k, '-', '+')).map((e) => [e.id, e.message]), [['1-1', { f: 'v' }], ['1-2', { f: 'w' }]]);
		same(await r.xGroupCreate(k, 'g', '0'), 'OK');
		const got = plain(await r.xReadGroup('g', 'c', { key: k, id: '>' }, { COUNT: 10 }));
		same(JSON.stringify(got).includes('1-2'), true);
		same(await r.xAck(k, 'g', '1-1'), 1);
		same((await r.xPending(k, 'g')).pending, 1);
		same((await r.xInfoStream(k)).length, 2);
	},
	async geo(r) {
		const k = tag + 'geo';
		await r.del(k);
		const of = (longitude, latitude, member) => ({ longitude, latitude, member });
		same(await r.geoAdd(k, [of(13.361389, 38.115556, 'Palermo'), of(15.087269, 37.502669, 'Catania')]), 2);
		same(await r.geoDist(k, 'Palermo', 'Catania', 'km'), 166.2742);
		same(await r.geoSearch(k, { longitude: 15, latitude: 37 }, { radius: 100, unit: 'km' }), ['Catania']);
	},
	async 'hyperloglog and bitmaps'(r) {
		await r.del([tag + 'hll', tag + 'hll2', tag + 'bits']);
		same(Boolean(await r.pfAdd(tag + 'hll', ['a', 'b', 'c'])), true);
		await r.pfAdd(tag + 'hll2', ['c', 'd']);
		same(await r.pfCount([tag + 'hll', tag + 'hll2']), 4);
		same(await r.setBit(tag + 'bits', 7, 1), 0);
		same(await r.bitCount(tag + 'bits'), 1);
	},
	async pipeline(r) {
		const replies = await Promise.all(Array.from({ length: 500 }, (_, i) => [r.set(`${spread}p:${i}`, String(i)), r.get(`${spread}p:${i}`)]).flat());
		same(replies, Array.from({ length: 500 }, (_, i) => ['OK', String(i)]).flat());
		const counted = r.multi().del(tag + 'count');
		for (let i = 0; i < 200; i++) counted.incr(tag + 'count');
		same((await counted.execAsPipeline()).at(-1), 200);
	},
	async transaction(r) {
		await r.del(tag + 't');
		same(await r.multi().incr(tag + 't').incr(tag + 't').get(tag + 't').exec(), [1, 2, '2']);
		await fails(r.multi().set(tag + 't', 'text').addCommand(['SET', tag + 't']).exec(), 'EXECABORT', 'ERR wrong number');
		same(await r.get(tag + 't'), '2');
		same(await r.multi().exec(), []);
		same(await r.multi().ping().set(tag + 't', 'text').exec(), ['PONG', 'OK']);
	},
	async watch(r, another) {
		const other = await another();
		await r.set(tag + 'w', '1');
		same(await r.watch(tag + 'w'), 'OK');
		await other.set(tag + 'w', '2');
		await fails(r.multi().set(tag + 'w', '3').exec(), 'One (or more) of the watched keys has been changed');
		same(await r.get(tag + 'w'), '2');
		await r.watch(tag + 'w');
		same(await r.multi().set(tag + 'w', '3').exec(), ['OK']);
		await r.watch(tag + 'w');
		await other.set(tag + 'w', '4');
		same(await r.unwatch(), 'OK');
		same(await r.multi().get(tag + 'w').exec(), ['4']);
	},
	async 'pub/sub'(publisher, another) {
		const subscriber = await another();
		const got = [];
		const listener = (message, channel) => got.push([channel, message]);
		await subscriber.subscribe([spread + 'one', spread + 'two'], listener);
		await subscriber.pSubscribe(spread + 'p*', listener);
		same(await publisher.publish(spread + 'one', 'first'), 1);
		same(await publisher.publish(spread + 'nobody', 'lost'), 0);
		await until(() => got.length === 1);
		same(await publisher.publish(spread + 'pattern', 'second'), 1);
		await until(() => got.length === 2);
		await subscriber.unsubscribe(spread + 'one');
		await publisher.publish(spread + 'one', 'lost');
		await publisher.publish(spread + 'two', 'third');
		await until(() => got.length === 3);
		same(got, [[spread + 'one', 'first'], [spread + 'pattern', 'second'], [spread + 'two', 'third']]);
		same(await publisher.pubSubChannels(spread + '*'), [spread + 'two']);
		await subscriber.pUnsubscribe(spread + 'p*');
		await subscriber.unsubscribe(spread + 'two');
		same(await subscriber.get(tag + 'none'), null);
	},
	async scripts(r) {
		const k = tag + 'script';
		await r.del(k);
		const sha = await r.scriptLoad(`return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])} -- ${Math.random()}`);
		same((await r.scriptExists([sha, '0'.repeat(40)])).map(Boolean), [true, false]);
		same(await r.evalSha(sha, { keys: [k], arguments: ['x'] }), [k, 'x', 1]);
		same(await r.eval('return redis.call("GET", KEYS[1])', { keys: [k] }), '1');
		await fails(r.evalSha('1'.repeat(40), { keys: [k] }), 'NOSCRIPT');
		await fails(r.eval('return redis.error_reply("MINE of the script")', { keys: [k] }), 'MINE of the script');
	},
	async functions(r) {
		const library = `node_${process.pid}`;
		same(await r.functionLoad(`#!lua name=${library}\nredis.register_function('${library}_f', function(keys, args) return args[1] end)`), library);
		same(await r.fCall(`${library}_f`, { keys: [tag + 'f'], arguments: ['hello'] }), 'hello');
		same((await r.functionList()).some((l) => (l.libraryName ?? l.library_name) === library), true);
		same(await r.functionDelete(library), 'OK');
	},
	async blocking(r, another) {
		const other = await another();
		const k = tag + 'queue';
		await r.del([k, k + '2', k + '3', tag + 'waits']);
		const popped = Promise.all([r.set(tag + 'waits', '1'), r.blPop([k, k + '2'], 30)]);
		await until(async () => await other.get(tag + 'waits') === '1');
		await other.rPush(k + '2', 'job');
		same(plain((await popped)[1]), { key: k + '2', element: 'job' });
		same(await r.brPop(k, 0.01), null);
		const moved = r.blMove(k, k + '2', 'LEFT', 'RIGHT', 30);
		await other.rPush(k, 'moved');
		same(await moved, 'moved');
		const lowest = r.bzPopMin(k + '3', 30);
		await other.zAdd(k + '3', { score: 1, value: 'm' });
		same(plain(await lowest), { key: k + '3', value: 'm', score: 1 });
		same(await r.ping(), 'PONG');
	},
	async 'blocking streams'(r, another) {
		const other = await another();
		const k = tag + 'feed';
		await r.del(k);
		const read = r.xRead({ key: k, id: '0' }, { BLOCK: 30000 });
		await other.xAdd(k, '5-1', { f: 'v' });
		same(JSON.stringify(await read).includes('5-1'), true);
		same(await r.xRead({ key: k, id: '$' }, { BLOCK: 10 }), null);
	},
	async scan(r) {
		const keys = Array.from({ length: 300 }, (_, i) => `${spread}scan:${i}`);
		await Promise.all(keys.map((k) => r.set(k, '1')));
		const seen = new Set();
		for await (const some of r.scanIterator({ MATCH: `${spread}scan:*`, COUNT: 50 })) [some].flat().forEach((k) => seen.add(k));
		same([...seen].sort(), keys.sort());
		await r.del([tag + 'h', tag + 's']);
		await r.hSet(tag + 'h', Object.fromEntries(keys.map((k) => [k, '1'])));
		let fields = 0;
		for await (const some of r.hScanIterator(tag + 'h')) fields += [some].flat().length;
		same(fields, 300);
		await r.sAdd(tag + 's', keys);
		let members = 0;
		for await (const some of r.sScanIterator(tag + 's')) members += [some].flat().length;
		same(members, 300);
	},
	async database(r, another) {
		const one = await another({ database: 1 });
		await r.set(tag + 'db', 'zero');
		await one.set(tag + 'db', 'one');
		same(await r.get(tag + 'db'), 'zero');
		await r.select(1);
		same(await r.get(tag + 'db'), 'one');
		await fails(r.select(16), 'ERR DB index is out of range');
		same(await r.del(tag + 'db'), 1);
	},
	async 'client commands'(r) {
		const id = await r.clientId();
		same(Number.isInteger(id), true);
		same(await r.clientSetName('renamed'), 'OK');
		same(await r.clientGetName(), 'renamed');
		const info = await r.clientInfo();
		same([info.id, info.name], [id, 'renamed']);
		same((await r.clientList({ TYPE: 'NORMAL' })).some((c) => c.id === id), true);
		same(await r.clientNoEvict(true), 'OK');
		same(await r.echo('hello'), 'hello');
		same((await r.info()).includes('redis_version:'), true);
		same(await r.commandCount() > 200, true);
		same((await r.commandInfo(['get']))[0].name, 'get');
		same(plain(await r.configGet('databases')), { databases: '16' });
	},
	async errors(r) {
		await r.set(tag + 'text', 'text');
		await fails(r.lPush(tag + 'text', '1'), 'WRONGTYPE');
		await fails(r.incr(tag + 'text'), 'ERR value is not an integer');
		await fails(r.sendCommand(['NOSUCHCOMMAND', 'x']), 'ERR unknown command');
		await fails(r.sendCommand(['GET']), 'ERR wrong number of arguments');
	},
	async reconnect(r, another) {
		const other = await another();
		const ready = once(r, 'ready');
		same(Number(await other.sendCommand(['CLIENT', 'KILL', 'ID', String(await r.clientId())])), 1);
		await ready;
		same(await r.set(tag + 'again', '1'), 'OK');
		same(await r.clientGetName(), 'node-redis-program');
		const subscriber = await another();
		const id = String(await subscriber.clientId());
		let got = 0;
		await subscriber.subscribe(spread + 'again', () => { got++; });
		const back = once(subscriber, 'ready');
		same(Number(await other.sendCommand(['CLIENT', 'KILL', 'ID', id])), 1);
		await back;
		await until(async () => await other.publish(spread + 'again', 'm') === 1);
		await until(() => got >= 1);
	},
};

if (major === 4) {
	features.pool = async (_, another) => {
		const r = await another({ isolationPoolOptions: { min: 1, max: 8 } });
		same(await Promise.all(Array.from({ length: 32 }, (_, i) => r.executeIsolated((c) => c.set(`${spread}pool:${i}`, '1')))), Array(32).fill('OK'));
	};
} else {
	features.pool = async (r) => {
		await r.del(tag + 'pool');
		const pool = redis.createClientPool(settings(), { minimum: 2, maximum: 8 });
		pool.on('error', () => {});
		await pool.connect();
		const replies = await Promise.all(Array.from({ length: 32 }, () => pool.multi().incr(tag + 'pool').get(tag + 'pool').exec()));
		same(replies.map(([n]) => n).sort((a, b) => a - b), Array.from({ length: 32 }, (_, i) => i + 1));
		await pool.close();
	};
	if (protocol === '3') {
		features['client-side caching'] = async (r, another) => {
			const cache = new redis.BasicClientSideCache({ ttl: 0, maxEntries: 0 });
			const cached = await another({ clientSideCache: cache });
			await r.set(tag + 'cached', 'one');
			same([await cached.get(tag + 'cached'), await cached.get(tag + 'cached')], ['one', 'one']);
			same(cache.stats().hitCount, 1);
			await r.set(tag + 'cached', 'two');
			await until(async () => await cached.get(tag + 'cached') === 'two');
			const hits = cache.stats().hitCount;
			same(await cached.get(tag + 'cached'), 'two');
			same(cache.stats().hitCount, hits + 1);
		};
	}
}

await run(`node-redis ${version} RESP${protocol}`, open, close, features);
