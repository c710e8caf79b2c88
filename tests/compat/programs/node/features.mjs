// What the programs in JavaScript share: where the server is, and a line for each feature.
import assert from 'node:assert/strict';

export const target = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT), password: process.env.REDIS_PASSWORD };

// Keys that begin with `tag` are in one group, those that begin with `spread` anywhere.
export const spread = process.env.KEYS + ':';
export const tag = `{${process.env.KEYS}}:`;

const limit = Number(process.env.LIMIT_MS);

export const same = assert.deepStrictEqual;

// fails checks that the promise is rejected with an error that begins with one of the codes.
export async function fails(promise, ...codes) {
	let value;
	try {
		value = await promise;
	} catch (err) {
		assert(codes.some((c) => err.message.startsWith(c)), `want an error ${codes.join(' or ')}, got: ${err.message}`);
		return;
	}
	assert.fail(`want an error ${codes.join(' or ')}, got ${JSON.stringify(value)}`);
}

// until asks again, with a turn of the event loop in between, until the answer is true. The feature's limit ends it.
export async function until(condition) {
	while (!await condition()) await new Promise((resolve) => { setTimeout(resolve, 2); });
}

function timed(promise) {
	let timer;
	const late = new Promise((_, reject) => {
		timer = setTimeout(() => reject(new Error(`no end within ${limit} ms`)), limit);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// run tries each feature with clients of its own. open makes one, close ends it whatever state it is in.
export async function run(about, open, close, features) {
	console.log(`client ${about}`);
	for (const [name, feature] of Object.entries(features)) {
		const clients = [];
		const another = async (options) => {
			const [client, ready] = open(options ?? {});
			clients.push(client);
			await ready;
			return client;
		};
		let outcome = `ok ${name}`;
		try {
			await timed((async () => feature(await another(), another))());
		} catch (err) {
			outcome = `fail ${name}: ${String(err?.message ?? err).replaceAll(/\s+/g, ' ').trim() || err?.code}`;
		}
		clients.forEach(close);
		console.log(outcome);
	}
	process.exit(0); // whatever a broken client has left behind
}

process.on('unhandledRejection', () => {}); // of clients that were closed with requests in flight
