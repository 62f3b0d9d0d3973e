import { gzipSync } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type LocalS3, startLocalS3 } from '../../support/localS3.ts';
import { FunctionFailure, type Harness, held, only, startHarness, type TestFunction } from './harness.ts';
import { shardMap } from './shardMap.ts';

let s3: LocalS3;
let harness: Harness | undefined;
beforeAll(async () => {
  s3 = await startLocalS3();
});
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});
afterAll(() => s3.close());

let folders = 0;
type Shard = { shard: { n: number }; index: number; batchId: string };
type Entry = Record<string, unknown> & { Status: string; Input: string; Name: string };

async function put(items: unknown[], options: { text?: string; key?: string } = {}) {
  folders += 1;
  const batchId = `batch-${folders}`;
  const key = options.key ?? `shards/${batchId}/shards.jsonl`;
  const text = options.text ?? items.map((item) => `${JSON.stringify(item)}\n`).join('');
  const Body = key.endsWith('.gz') ? gzipSync(text) : Buffer.from(text);
  await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key, Body }));
  return { bucket: s3.bucket, key, batchId, maxConcurrency: 5 };
}

async function read(key: string): Promise<string> {
  const { Body } = await s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: key }));
  return (await Body?.transformToString()) ?? '';
}

async function manifestOf(output: string | undefined) {
  const { MapRunArn, ResultWriterDetails } = JSON.parse(output ?? '{}') as {
    MapRunArn: string;
    ResultWriterDetails: { Bucket: string; Key: string };
  };
  const manifest = JSON.parse(await read(ResultWriterDetails.Key)) as {
    MapRunArn: string;
    DestinationBucket: string;
    ResultFiles: Record<'SUCCEEDED' | 'FAILED' | 'PENDING', { Key: string; Size: number }[]>;
  };
  return { MapRunArn, ...ResultWriterDetails, manifest };
}

async function start(runShard: TestFunction, change: Record<string, unknown> = {}) {
  harness = await startHarness({ batch: only(shardMap(change)) }, { runShard }, { s3Url: s3.url });
  return harness;
}

const items = (count: number) => Array.from({ length: count }, (_, n) => ({ n }));
const failsAt =
  (...numbers: number[]): TestFunction =>
  (payload) => {
    if (numbers.includes((payload as Shard).index)) throw new FunctionFailure('ShardDied', 'no luck');
    return payload;
  };

test('a child runs for each line, with the item, its index and the state in its input', async () => {
  const seen: Shard[] = [];
  const { run } = await start((payload) => {
    seen.push(payload as Shard);
    return { done: (payload as Shard).shard.n };
  });
  const input = await put(items(12));
  expect(await run('batch', input)).toMatchObject({ status: 'SUCCEEDED' });
  seen.sort((a, b) => a.index - b.index);
  expect(seen).toEqual(items(12).map((shard, index) => ({ version: 1, batchId: input.batchId, shard, index })));
});

test('the results are in S3 under the prefix and a folder of the run’s own, with a manifest', async () => {
  const { run } = await start(failsAt(1), { ToleratedFailurePercentage: 100 });
  const input = await put(items(3));
  const ended = await run('batch', input);
  const { MapRunArn, Bucket, Key, manifest } = await manifestOf(ended.output);
  expect(MapRunArn).toMatch(/^arn:aws:states:us-east-1:000000000000:mapRun:batch\/Shards:[\da-f-]{36}$/);
  const runId = MapRunArn.slice(-36);
  const folder = `shards/${input.batchId}/results/${runId}`;
  expect({ Bucket, Key }).toEqual({ Bucket: s3.bucket, Key: `${folder}/manifest.json` });
  const succeeded = await read(`${folder}/SUCCEEDED_0.json`);
  const failed = await read(`${folder}/FAILED_0.json`);
  expect(manifest).toEqual({
    DestinationBucket: s3.bucket,
    MapRunArn,
    ResultFiles: {
      SUCCEEDED: [{ Key: `${folder}/SUCCEEDED_0.json`, Size: succeeded.length }],
      FAILED: [{ Key: `${folder}/FAILED_0.json`, Size: failed.length }],
      PENDING: [],
    },
  });
  const entries = JSON.parse(succeeded) as Entry[];
  expect(entries.map((entry) => (JSON.parse(entry.Input) as Shard).index).sort()).toEqual([0, 2]);
  expect(entries[0]).toMatchObject({
    Status: 'SUCCEEDED',
    StateMachineArn: 'arn:aws:states:us-east-1:000000000000:stateMachine:batch/Shards',
  });
  expect(entries[0]?.ExecutionArn).toBe(
    `arn:aws:states:us-east-1:000000000000:execution:batch/Shards:${entries[0]?.Name}`,
  );
  expect(JSON.parse(failed)).toMatchObject([{ Status: 'FAILED', Error: 'ShardDied' }]);
});

test.each([
  ['NONE', 'JSONL', (line: unknown) => (line as { Output: string }).Output],
  ['COMPACT', 'JSONL', JSON.stringify],
])('the writer’s format %s %s is kept to', async (Transformation, OutputType, outputOf) => {
  const ResultWriter = { ...shardMap().ResultWriter, WriterConfig: { Transformation, OutputType } };
  const { run } = await start((payload) => [(payload as Shard).index], { ResultWriter });
  const ended = await run('batch', await put(items(3)));
  const [file] = (await manifestOf(ended.output)).manifest.ResultFiles.SUCCEEDED;
  expect(file?.Key).toMatch(/\/SUCCEEDED_0\.jsonl$/);
  const lines = (await read(file?.Key ?? '')).trimEnd().split('\n');
  expect(lines.map((line) => outputOf(JSON.parse(line))).sort()).toEqual(['[0]', '[1]', '[2]']);
});

test('FLATTEN takes the lists apart that children answer', async () => {
  const ResultWriter = { ...shardMap().ResultWriter, WriterConfig: { Transformation: 'FLATTEN', OutputType: 'JSON' } };
  const { run } = await start((payload) => [(payload as Shard).index, 'x'], { ResultWriter });
  const ended = await run('batch', await put(items(2)));
  const [file] = (await manifestOf(ended.output)).manifest.ResultFiles.SUCCEEDED;
  expect((JSON.parse(await read(file?.Key ?? '')) as unknown[]).map(String).sort()).toEqual(['0', '1', 'x', 'x']);
});

test('with no tolerance one failed child fails the run, and no more are begun', async () => {
  let calls = 0;
  const { run } = await start((payload) => {
    calls += 1;
    return failsAt(0)(payload);
  });
  const input = { ...(await put(items(500))), maxConcurrency: 1 };
  expect(await run('batch', input)).toMatchObject({
    status: 'FAILED',
    error: 'States.ExceedToleratedFailureThreshold',
  });
  expect(calls).toBe(1);
  // What there was is exported all the same.
  const listed = await s3.client.send(
    new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: `shards/${input.batchId}/results/` }),
  );
  expect(listed.Contents?.map(({ Key }) => Key?.split('/').at(-1)).sort()).toEqual(['FAILED_0.json', 'manifest.json']);
});

test('with all failures tolerated the run succeeds where every child failed', async () => {
  const { run } = await start(failsAt(0, 1, 2), { ToleratedFailurePercentage: 100 });
  expect(await run('batch', await put(items(3)))).toMatchObject({ status: 'SUCCEEDED' });
});

test.each<[number, Record<string, unknown>, string]>([
  [2, { ToleratedFailureCount: 2 }, 'SUCCEEDED'],
  [3, { ToleratedFailureCount: 2 }, 'FAILED'],
  [2, { ToleratedFailurePercentage: 20 }, 'SUCCEEDED'],
  [3, { ToleratedFailurePercentage: 20 }, 'FAILED'],
  [3, { ToleratedFailurePercentagePath: '$.maxConcurrency' }, 'FAILED'],
])('%i failures of 10 under %j: %s', async (count, tolerance, status) => {
  const numbers = Array.from({ length: count }, (_, n) => n);
  const { run } = await start(failsAt(...numbers), tolerance);
  expect(await run('batch', await put(items(10)))).toMatchObject({ status });
});

test('a map that failed goes where its Catch says', async () => {
  const Catch = [
    { ErrorEquals: ['States.TaskFailed'], Next: 'Wrong' },
    { ErrorEquals: ['States.ALL'], Next: 'Caught' },
  ];
  const States = {
    Process: shardMap({ Catch }),
    Caught: { Type: 'Succeed' },
    Wrong: { Type: 'Fail', Error: 'AMapIsNoTask' },
  };
  harness = await startHarness({ batch: { StartAt: 'Process', States } }, { runShard: failsAt(0) }, { s3Url: s3.url });
  const ended = await harness.run('batch', await put(items(1)));
  expect(ended.status).toBe('SUCCEEDED');
  expect(JSON.parse(ended.output ?? '')).toMatchObject({ Error: 'States.ExceedToleratedFailureThreshold' });
});

test('a retried map is a new run over all items', async () => {
  const calls: number[] = [];
  const Retry = [{ ErrorEquals: ['States.ALL'], IntervalSeconds: 0.001, MaxAttempts: 1 }];
  const { run } = await start(
    (payload) => {
      calls.push((payload as Shard).index);
      if (calls.length === 2) throw new FunctionFailure('ShardDied');
      return payload;
    },
    { Retry, MaxConcurrencyPath: undefined, MaxConcurrency: 1 },
  );
  expect(await run('batch', await put(items(3)))).toMatchObject({ status: 'SUCCEEDED' });
  expect(calls).toEqual([0, 1, 0, 1, 2]);
});

test('ResultPath null hands the map’s input on', async () => {
  const { run } = await start((payload) => payload, { ResultPath: null });
  const input = await put(items(1));
  const ended = await run('batch', input);
  expect(JSON.parse(ended.output ?? '')).toEqual(input);
});

test('an empty file makes no children', async () => {
  const { run } = await start(failsAt(0));
  const ended = await run('batch', await put([]));
  expect((await manifestOf(ended.output)).manifest.ResultFiles).toEqual({ SUCCEEDED: [], FAILED: [], PENDING: [] });
});

test('CRLF, blank lines, U+2028 in a text, no newline at the end and gzip are read as what they hold', async () => {
  const seen: unknown[] = [];
  const { run } = await start((payload) => {
    seen.push((payload as Shard).shard);
    return null;
  });
  const text = '{"a":"x\u2028ü"}\r\n\r\n\n  {"b":2}';
  await run('batch', { ...(await put([], { text })), maxConcurrency: 1 });
  await run('batch', { ...(await put([], { text, key: 'shards/packed.jsonl.gz' })), maxConcurrency: 1 });
  expect(seen).toEqual([{ a: 'x\u2028ü' }, { b: 2 }, { a: 'x\u2028ü' }, { b: 2 }]);
});

test('an item selector does not take an item’s own fields for paths', async () => {
  const seen: unknown[] = [];
  const { run } = await start((payload) => {
    seen.push((payload as Shard).shard);
    return null;
  });
  await run('batch', await put([{ 'text.$': '$.nowhere' }]));
  expect(seen).toEqual([{ 'text.$': '$.nowhere' }]);
});

test.each<[string, () => Promise<Record<string, unknown>>, string]>([
  ['a file that is not there', async () => ({ ...(await put([])), key: 'no/such/key' }), 'States.ItemReaderFailed'],
  ['a line that is not JSON', () => put([], { text: '{"n":0}\n{"n":\n' }), 'States.ItemReaderFailed'],
  ['an input without the key', async () => ({ ...(await put([])), key: undefined }), 'States.Runtime'],
  ['a bound that is no number', async () => ({ ...(await put([])), maxConcurrency: 'all' }), 'States.Runtime'],
  ['an item over 256 KiB', () => put([{ text: 'x'.repeat(256 * 1024) }]), 'States.DataLimitExceeded'],
  ['a bucket that is not there', async () => ({ ...(await put([])), bucket: 'nowhere' }), 'States.ItemReaderFailed'],
])('%s fails the map', async (_, input, error) => {
  const { run } = await start((payload) => payload, { ToleratedFailurePercentage: 100 });
  expect(await run('batch', await input())).toMatchObject({ status: 'FAILED', error });
});

test('20,000 items run, never more at once than MaxConcurrencyPath says', async () => {
  let running = 0;
  let most = 0;
  let children = 0;
  const { run, server } = await start(async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise(setImmediate);
    running -= 1;
    return null;
  });
  const names = new Set<string>();
  server.observe(({ type, executionArn }) => {
    if (type !== 'ExecutionStarted') return;
    children += 1;
    names.add(executionArn);
  });
  const input = { ...(await put(items(20_000))), maxConcurrency: 64 };
  const ended = await run('batch', input);
  expect(ended.status).toBe('SUCCEEDED');
  expect(most).toBe(64);
  // The parent is one of them.
  expect(children).toBe(20_001);
  expect(names.size).toBe(20_001);
  const [file] = (await manifestOf(ended.output)).manifest.ResultFiles.SUCCEEDED;
  expect((JSON.parse(await read(file?.Key ?? '')) as unknown[]).length).toBe(20_000);
});

test('stopping the execution ends it at once, begins no more children, and leaves running functions running', async () => {
  const shard = held();
  const { start: begin, server, describe, client } = await start(shard.body);
  const arn = await begin('batch', await put(items(50)));
  await shard.entered;
  const { StopExecutionCommand } = await import('@aws-sdk/client-sfn');
  await client.send(new StopExecutionCommand({ executionArn: arn, cause: 'cancelled' }));
  expect(await describe(arn)).toMatchObject({ status: 'ABORTED', cause: 'cancelled' });
  await server.settled(arn);
  const begun = shard.calls();
  shard.release();
  await expect.poll(shard.ended).toBe(begun);
  expect(begun).toBeLessThanOrEqual(5);
  expect(shard.calls()).toBe(begun);
  expect(await describe(arn)).toMatchObject({ status: 'ABORTED' });
});
