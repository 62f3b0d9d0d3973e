import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startLocalRun } from '../../local/runtime.ts';
import { RUN_INFO_FILE } from '../../shared/contract/runInfo.ts';

/**
 * A local run in a process of its own, as `npm start -- --json` is one, with settings that bring within minutes what
 * takes hours: shorter pauses and timeouts, smaller shards, functions that hand over.
 * `node test/soak/systemProcess.ts DATA_DIR MODELS_FILE whole|handing_over`
 */
const [dataDir, modelsFile, functions] = process.argv.slice(2);
if (dataDir === undefined || modelsFile === undefined) throw new Error('It needs a data folder and a models file');

const run = await startLocalRun({
  port: 0,
  dataDir,
  modelsFile,
  settings: {
    // Files of some kilobytes drip over many invocations.
    fetch: { reserveSeconds: 5, minBytesPerSecond: 0 },
    check: { lookAgainSeconds: 5, graceSeconds: 10 },
    notify: { timeoutSeconds: 5, pausesSeconds: [1, 1, 2, 2, 3, 3, 5, 5, 5, 10, 10, 10, 10, 10, 10, 10] },
    shards: { maxLines: 500, minLines: 25 },
    worker: { callTimeoutSeconds: 10, retryBaseMs: 100, retryMaxMs: 5_000, commitLines: 60, drainSeconds: 20 },
    snapshots: { refreshSeconds: 2 },
  },
  ...(functions === 'handing_over'
    ? {
        functions: {
          FunctionsWorkflowRunShard: { timeoutSeconds: 25 },
          FunctionsWorkflowFinalizeBatch: { timeoutSeconds: 12 },
          FunctionsWorkflowFetchInput: { timeoutSeconds: 20 },
        },
      }
    : {}),
  onProgress: (text) => process.stderr.write(`${text}\n`),
});
process.stdout.write(`${JSON.stringify(JSON.parse(readFileSync(join(dataDir, RUN_INFO_FILE), 'utf8')))}\n`);

process.once('SIGTERM', () => {
  void run.close().then(() => process.exit(0));
});
// Whoever started it is gone, however it went.
process.stdin.on('end', () => process.exit(1)).resume();
