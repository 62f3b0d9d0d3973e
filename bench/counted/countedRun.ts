import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type LocalRun, startLocalRun } from '../../local/runtime.ts';
import type { MeteredLine } from '../../shared/contract/metered.ts';
import type { Settings } from '../../shared/contract/settings.ts';
import { readLocalMeter } from '../fees/meteredLog.ts';
import { chatLines } from './chatLines.ts';

export type BatchToCount = { lines: number; lineBytes: number };

export type CountedBatch = BatchToCount & {
  /** What each invocation for the batch has used: its steps, and its client's requests while it ran. */
  metered: MeteredLine[];
  /** As the local Step Functions saw them; counted as `transitionsOf` says. */
  stateTransitions: number;
};

export type CountOptions = {
  batches: readonly BatchToCount[];
  settings: Settings;
  /** Of every answer of the simulated model. */
  latencyMs: number;
  onProgress?: (text: string) => void;
};

const ENDED = ['completed', 'failed', 'expired', 'cancelled'];
const LOOK_EVERY_MS = 1_000;

/**
 * Runs batches one after another through the whole product on this machine, with the meter on, and gives out what was
 * metered. Machine and network are not AWS's; what is called, how often and with how much, is the same.
 */
export async function runCounted(options: CountOptions): Promise<CountedBatch[]> {
  const dataDir = mkdtempSync(join(tmpdir(), 'batch-api-counted-'));
  const { settings, latencyMs } = options;
  const modelsFile = join(dataDir, 'models.json');
  writeFileSync(modelsFile, JSON.stringify(modelOf(latencyMs)));
  try {
    const run = await startLocalRun({
      dataDir: join(dataDir, 'run'),
      port: 0,
      modelsFile,
      settings: { ...settings, allowPrivateNetworks: true, metering: true },
    });
    try {
      const counted: CountedBatch[] = [];
      for (const batch of options.batches) {
        options.onProgress?.(`Counting what a batch of ${batch.lines} lines uses`);
        counted.push(await countBatch(run, batch));
      }
      return counted;
    } finally {
      await run.close();
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function countBatch(run: LocalRun, batch: BatchToCount): Promise<CountedBatch> {
  const executions = new Set<string>();
  let entered = 0;
  const unwatch = run.backstage.observe(({ executionArn, type }) => {
    executions.add(executionArn);
    if (type === 'StateEntered' || type === 'StateRetried') entered++;
  });
  const startedAt = new Date().toISOString();
  const batchId = await runToItsEnd(run, batch);
  unwatch();
  const metered = readLocalMeter(run).filter(
    ({ kind, batch_id, timestamp }) => batch_id === batchId || (kind === 'request' && timestamp >= startedAt),
  );
  // An ending each, and of the map's children a dispatch as well.
  const children = [...executions].filter((arn) => arn.includes('/Process:')).length;
  return { ...batch, metered, stateTransitions: entered + executions.size + children };
}

async function runToItsEnd(run: LocalRun, batch: BatchToCount): Promise<string> {
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${run.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${run.apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as Record<string, unknown>;
  };
  const input = Buffer.concat([...chatLines(batch)].map((piece) => Buffer.from(piece)));
  const upload = await call('POST', '/files', { bytes: input.length });
  const put = await fetch(String(upload.upload_url), { method: 'PUT', body: input });
  if (!put.ok) throw new Error(`The upload answered ${put.status}: ${await put.text()}`);
  const { id } = await call('POST', '/batches', {
    name: `count ${batch.lines}`,
    type: 'COMPLETIONS',
    input_file_url: upload.input_file_url,
    callback_url: run.demo.receiverUrl,
  });
  for (;;) {
    const { status, delivered_at } = await call('GET', `/batches/${id}`);
    if (ENDED.includes(String(status)) && status !== 'completed') throw new Error(`The counted batch is ${status}`);
    // Delivered: the last of its steps is through, and its line is written with the end of the invocation.
    if (delivered_at) break;
    await pause(LOOK_EVERY_MS);
  }
  await call('GET', `/batches/${id}/download`);
  await waitForLastLine(run, String(id));
  return String(id);
}

async function waitForLastLine(run: LocalRun, batchId: string): Promise<void> {
  const isOver = ({ function: name, batch_id, next }: MeteredLine) =>
    name === 'notifyReceiver' && batch_id === batchId && next === 'end';
  while (!readLocalMeter(run).some(isOver)) await pause(LOOK_EVERY_MS / 10);
}

function modelOf(latencyMs: number) {
  return {
    providers: { simulator: { kind: 'simulator', latency_ms: [latencyMs, latencyMs] } },
    models: { default: { provider: 'simulator', model: 'simulator-text', endpoints: ['chat/completions'] } },
    agents: { '*': { model: 'default' } },
  };
}
