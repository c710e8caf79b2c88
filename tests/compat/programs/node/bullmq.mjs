// BullMQ, queues of jobs: scripts with a dozen keys, blocking commands, streams, and connections by the handful.
import { createRequire } from 'node:module';
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { run, same, target, until } from './features.mjs';

const { version } = createRequire(import.meta.url)('bullmq/package.json');
const connection = { ...target, maxRetriesPerRequest: null, retryStrategy: (times) => (times > 5 ? null : 10) };
const prefix = `{${process.env.KEYS}}`; // the keys of a queue have to be in one group

// A client here is whatever of BullMQ has connections. The first of each feature is a queue of its own.
let queues = 0;
const open = ({ make = (name, options) => new Queue(name, options), name = `queue-${++queues}`, ...options }) => {
	const made = make(name, { connection, prefix, ...options });
	made.on('error', () => {}); // what matters fails a feature
	return [made, made.waitUntilReady?.()];
};

const close = (client) => { Promise.resolve(client.close(true)).catch(() => {}); };

const worker = (handler) => ({ make: (name, options) => new Worker(name, handler, options) });

await run(`bullmq ${version}`, open, close, {
	async jobs(queue, another) {
		const done = [];
		const w = await another({ name: queue.name, concurrency: 4, ...worker(async (job) => job.data.n * 2) });
		w.on('completed', (job, result) => done.push(result));
		await queue.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: 'double', data: { n } })));
		await until(() => done.length === 50);
		same(done.sort((a, b) => a - b), Array.from({ length: 50 }, (_, n) => n * 2));
		same(await queue.getCompletedCount(), 50);
		same((await queue.getCompleted(0, 3)).length, 4);
	},
	async 'delayed jobs and priorities'(queue, another) {
		const order = [];
		await queue.add('low', {}, { priority: 9 });
		await queue.add('high', {}, { priority: 1 });
		await queue.add('later', {}, { delay: 200 });
		same((await queue.getJobCounts('delayed', 'prioritized')), { delayed: 1, prioritized: 2 });
		await another({ name: queue.name, ...worker(async (job) => { order.push(job.name); }) });
		await until(() => order.length === 3);
		same(order.filter((name) => name !== 'later'), ['high', 'low']);
	},
	async retries(queue, another) {
		let tries = 0;
		const w = await another({
			name: queue.name,
			...worker(async () => {
				if (++tries < 3) throw new Error('not yet');
				return 'at last';
			}),
		});
		const results = [];
		w.on('completed', (_, result) => results.push(result));
		await queue.add('stubborn', {}, { attempts: 5, backoff: 1 });
		await until(() => results.length === 1);
		same([results, tries], [['at last'], 3]);
	},
	async events(queue, another) {
		const events = await another({ name: queue.name, make: (name, options) => new QueueEvents(name, options) });
		await another({ name: queue.name, ...worker(async (job) => { await job.updateProgress(50); return job.data; }) });
		const job = await queue.add('watched', { a: 1 });
		same(await job.waitUntilFinished(events), { a: 1 });
	},
	async flows(queue, another) {
		const flows = await another({ name: queue.name, make: (_, options) => new FlowProducer(options) });
		let sum;
		await another({
			name: queue.name,
			...worker(async (job) => {
				if (job.name === 'leaf') return job.data.n;
				sum = Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
				return sum;
			}),
		});
		await flows.add({ name: 'root', queueName: queue.name, children: [1, 2, 3].map((n) => ({ name: 'leaf', data: { n }, queueName: queue.name })) });
		await until(() => sum !== undefined);
		same(sum, 6);
	},
	async 'pause and obliterate'(queue) {
		await queue.pause();
		same(await queue.isPaused(), true);
		await queue.add('never', {});
		await queue.resume();
		same(await queue.isPaused(), false);
		await queue.obliterate({ force: true });
		same(await queue.count(), 0);
	},
});
