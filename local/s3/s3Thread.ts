import { parentPort, workerData } from 'node:worker_threads';
import { type S3Options, startS3 } from './server.ts';

/** One S3 server in a thread: it tells its URL once it listens, and ends when it is told anything. */
const port = parentPort;
if (!port) throw new Error('s3Thread.ts runs in a worker thread');
// Handed over by thread.ts.
const { buckets, ...options } = workerData as S3Options & { buckets: readonly string[] };

const server = await startS3(options);
for (const bucket of buckets) server.createBucket(bucket);
port.on('message', async () => {
  await server.close();
  port.close();
});
port.postMessage(server.url);
