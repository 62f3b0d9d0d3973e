import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { S3Options } from './server.ts';

/**
 * What streams through S3 is freed by the collector, which looks at the whole heap for each 64 MB of it unless a
 * collection of the young generation came first. So that generation is small, and the heap holds S3 alone.
 */
const YOUNG_GENERATION_MB = 4;

/** Starts an S3 with these buckets in a thread of its own, where it holds up nothing else. */
export async function startS3Thread(
  options: Pick<S3Options, 'dataDir' | 'credentials' | 'region' | 'port'> & { buckets: readonly string[] },
): Promise<{ url: string; close(): Promise<void> }> {
  const worker = new Worker(new URL('./s3Thread.ts', import.meta.url), {
    workerData: options,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  });
  const [url] = (await Promise.race([
    once(worker, 'message'),
    once(worker, 'error').then(([error]) => Promise.reject(error)),
  ])) as [string];
  return {
    url,
    async close() {
      const exit = once(worker, 'exit');
      worker.postMessage('close');
      await exit;
    },
  };
}
