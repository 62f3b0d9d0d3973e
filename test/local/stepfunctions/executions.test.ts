import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DescribeExecutionCommand,
  ListExecutionsCommand,
  paginateListExecutions,
  SendTaskSuccessCommand,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, held, invoke, machineArn, only, startHarness, type TestFunction } from './harness.ts';

const open = new Set<Harness>();
let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'local-sfn-'));
});
afterEach(async () => {
  for (const harness of open) await harness.close();
  open.clear();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(functions: Record<string, TestFunction> = { f: (payload) => payload }): Promise<Harness> {
  const harness = await startHarness({ m: only(invoke('f')), other: only(invoke('f')) }, functions, { dataDir });
  open.add(harness);
  return harness;
}
async function close(harness: Harness) {
  open.delete(harness);
  await harness.close();
}
const arnOf = (name: string) => `arn:aws:states:us-east-1:000000000000:execution:m:${name}`;

test('an execution is named, described and dated as the service does it', async () => {
  const { run } = await start();
  const ended = await run('m', { a: 1 }, 'one');
  expect(ended).toMatchObject({
    executionArn: arnOf('one'),
    stateMachineArn: machineArn('m'),
    name: 'one',
    status: 'SUCCEEDED',
    input: '{"a":1}',
    inputDetails: { included: true },
    output: '{"a":1}',
  });
  expect(ended.startDate).toBeInstanceOf(Date);
  expect(ended.stopDate?.getTime()).toBeGreaterThanOrEqual(ended.startDate?.getTime() ?? Number.POSITIVE_INFINITY);
});

test('the same name and input while it runs answer the running execution, another input does not', async () => {
  const task = held();
  const { client, start: begin, server } = await start({ f: task.body });
  const arn = await begin('m', { a: 1 }, 'one');
  await task.entered;
  expect(await begin('m', { a: 1 }, 'one')).toBe(arn);
  await expect(begin('m', { a: 2 }, 'one')).rejects.toMatchObject({ name: 'ExecutionAlreadyExists' });
  // Names are each machine's own.
  expect(await begin('other', { a: 2 }, 'one')).not.toBe(arn);
  const listed = await client.send(new ListExecutionsCommand({ stateMachineArn: machineArn('m') }));
  expect(listed.executions).toHaveLength(1);
  task.release();
  await server.settled(arn);
  expect(task.calls()).toBe(2);
});

test('the name of an ended execution is refused, after a restart too', async () => {
  const first = await start();
  await first.run('m', {}, 'one');
  await expect(first.start('m', {}, 'one')).rejects.toMatchObject({ name: 'ExecutionAlreadyExists' });
  await close(first);
  const second = await start();
  await expect(second.start('m', {}, 'one')).rejects.toMatchObject({ name: 'ExecutionAlreadyExists' });
  expect(await second.describe(arnOf('one'))).toMatchObject({ status: 'SUCCEEDED', output: '{}' });
});

test('what ran when the process ended is found aborted after a restart, and its next attempt can start', async () => {
  const task = held();
  const first = await start({ f: task.body });
  await first.start('m', {}, 'b-1');
  await task.entered;
  await close(first);
  const second = await start();
  const lost = await second.describe(arnOf('b-1'));
  expect(lost).toMatchObject({ status: 'ABORTED', error: 'Local.ProcessEnded' });
  expect(lost.stopDate).toBeInstanceOf(Date);
  expect(second.server.running()).toEqual([]);
  expect(await second.run('m', {}, 'b-2')).toMatchObject({ status: 'SUCCEEDED' });
});

test('a stopped execution is aborted at once, its function runs to its end and changes nothing', async () => {
  const task = held();
  const next: unknown[] = [];
  const machine = { StartAt: 'A', States: { A: invoke('a', { Next: 'B' }), B: invoke('b') } };
  const functions = { a: task.body, b: (payload: unknown) => next.push(payload) };
  const harness = await startHarness({ m: machine }, functions, { dataDir });
  open.add(harness);
  const arn = await harness.start('m', {}, 'one');
  await task.entered;
  const stop = new StopExecutionCommand({ executionArn: arn, error: 'Cancelled', cause: 'by hand' });
  const { stopDate } = await harness.client.send(stop);
  const aborted = { status: 'ABORTED', error: 'Cancelled', cause: 'by hand', stopDate };
  expect(await harness.describe(arn)).toMatchObject(aborted);
  await harness.server.settled(arn);
  expect(harness.server.running()).toEqual([]);
  expect(task.ended()).toBe(0);
  task.release();
  await expect.poll(task.ended).toBe(1);
  expect(next).toEqual([]);
  // Stopping again answers the same, and changes nothing.
  expect((await harness.client.send(new StopExecutionCommand({ executionArn: arn }))).stopDate).toEqual(stopDate);
  expect(await harness.describe(arn)).toMatchObject(aborted);
});

test('a stop during a wait and during a pause before a retry ends the execution too', async () => {
  let calls = 0;
  const Retry = [{ ErrorEquals: ['States.ALL'], IntervalSeconds: 3_600, MaxAttempts: 9 }];
  const failed = Promise.withResolvers<void>();
  const harness = await startHarness(
    { waits: only({ Type: 'Wait', Seconds: 86_400, End: true }), retries: only(invoke('fails', { Retry })) },
    {
      fails: () => {
        calls += 1;
        failed.resolve();
        throw new Error('no');
      },
    },
    { dataDir },
  );
  open.add(harness);
  for (const machine of ['waits', 'retries']) {
    const arn = await harness.start(machine);
    if (machine === 'retries') await failed.promise;
    await harness.client.send(new StopExecutionCommand({ executionArn: arn }));
    await harness.server.settled(arn);
    expect(await harness.describe(arn)).toMatchObject({ status: 'ABORTED' });
  }
  expect(calls).toBe(1);
});

test('executions are listed newest first, by status, page by page', async () => {
  const {
    client,
    run,
    start: begin,
  } = await start({ f: (payload) => (payload === 'hang' ? new Promise(() => 0) : payload) });
  for (let n = 1; n <= 5; n += 1) await run('m', n, `n${n}`);
  await begin('m', 'hang', 'n6');
  const names: string[][] = [];
  const stateMachineArn = machineArn('m');
  for await (const page of paginateListExecutions({ client, pageSize: 4 }, { stateMachineArn })) {
    names.push((page.executions ?? []).map(({ name }) => name ?? ''));
  }
  expect(names).toEqual([
    ['n6', 'n5', 'n4', 'n3'],
    ['n2', 'n1'],
  ]);
  const running = await client.send(new ListExecutionsCommand({ stateMachineArn, statusFilter: 'RUNNING' }));
  expect(running.executions?.map(({ name, status }) => [name, status])).toEqual([['n6', 'RUNNING']]);
  const other = await client.send(new ListExecutionsCommand({ stateMachineArn: machineArn('other') }));
  expect(other).toMatchObject({ executions: [] });
});

test.each([
  ['StateMachineDoesNotExist', new StartExecutionCommand({ stateMachineArn: machineArn('nobody') })],
  ['InvalidArn', new StartExecutionCommand({ stateMachineArn: 'm' })],
  ['InvalidName', new StartExecutionCommand({ stateMachineArn: machineArn('m'), name: 'a b' })],
  ['InvalidName', new StartExecutionCommand({ stateMachineArn: machineArn('m'), name: 'x'.repeat(81) })],
  ['InvalidName', new StartExecutionCommand({ stateMachineArn: machineArn('m'), name: 'a:b' })],
  ['InvalidExecutionInput', new StartExecutionCommand({ stateMachineArn: machineArn('m'), input: '{' })],
  [
    'ValidationException',
    new StartExecutionCommand({ stateMachineArn: machineArn('m'), input: `"${'x'.repeat(256 * 1024)}"` }),
  ],
  ['ValidationException', new StartExecutionCommand({ stateMachineArn: machineArn('m'), traceHeader: 'x' })],
  ['ExecutionDoesNotExist', new DescribeExecutionCommand({ executionArn: arnOf('nobody') })],
  ['ExecutionDoesNotExist', new StopExecutionCommand({ executionArn: arnOf('nobody') })],
  ['InvalidArn', new DescribeExecutionCommand({ executionArn: 'nobody' })],
  ['InvalidToken', new ListExecutionsCommand({ stateMachineArn: machineArn('m'), nextToken: '?' })],
  ['ValidationException', new ListExecutionsCommand({ stateMachineArn: machineArn('m'), maxResults: 1_001 })],
  ['UnknownOperationException', new SendTaskSuccessCommand({ taskToken: 't', output: '{}' })],
])('a bad request answers %s', async (name, command) => {
  const { client } = await start();
  // Each command's own type says nothing more to a test of its refusal.
  await expect(client.send(command as StartExecutionCommand)).rejects.toMatchObject({ name });
});

test('an operation that is not there is named', async () => {
  const { client } = await start();
  await expect(client.send(new SendTaskSuccessCommand({ taskToken: 't', output: '{}' }))).rejects.toThrow(
    'AWSStepFunctions.SendTaskSuccess',
  );
});
