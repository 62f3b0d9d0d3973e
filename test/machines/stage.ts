import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { StopExecutionCommand } from '@aws-sdk/client-sfn';
import { startS3 } from '../../local/s3/server.ts';
import { createS3Client } from '../../shared/adapters/s3/client.ts';
import { type StepName, steps } from '../../shared/contract/steps.ts';
import { FunctionFailure, type Harness, startHarness } from '../local/stepfunctions/harness.ts';
import { LOCAL_S3 } from '../support/localS3.ts';
import { waysTaken } from './coverage.ts';
import { MACHINES, type MachineName, type Machines, readMachines, withoutPauses } from './definitions.ts';
import { createTestClock, type TestClock } from './testClock.ts';

/** What a function answers to one call: the fields that it adds to its input, a failure, or a body of its own. */
export type Reply = Record<string, unknown> | FunctionFailure | ((input: Input) => unknown);
export type Input = Record<string, unknown>;
/** By step: a reply a call in their order, or one for all of them. */
export type Script = { [S in StepName]?: Reply | Reply[] };

export type Call = { step: StepName; input: Input };
export type Played = {
  status: string | undefined;
  error: string | undefined;
  cause: string | undefined;
  output: unknown;
  /** The states that were entered, in order: the execution's own, and those of each child of its maps. */
  path: string[];
  children: string[][];
  calls: Call[];
  /** Seconds that Wait states waited for. */
  waits: number[];
};

export type Stage = {
  machines: Machines;
  clock: TestClock;
  /** Runs an execution to its end with functions that play `script`. */
  play(machine: MachineName, input: Input, script: Script): Promise<Played>;
  /** Starts one; with `holdWaits` its first Wait state is not over until it is stopped. */
  begin(machine: MachineName, input: Input, script: Script, options?: { holdWaits?: boolean }): Promise<Begun>;
  /** Writes what a map is to read; answers the key. */
  putList(items: unknown[] | string): Promise<string>;
  /** All ways that were taken so far, as `waysOf` names them. */
  taken: Record<MachineName, Set<string>>;
  close(): Promise<void>;
};
export type Begun = {
  /** Resolves when a Wait state is held. */
  waiting: Promise<void>;
  /** By StopExecution. */
  stop(): Promise<void>;
  ended(): Promise<Played>;
};

/** The synthesized machines on the local engine, with scripted functions and the local S3. */
export async function openStage(): Promise<Stage> {
  const machines = await readMachines();
  const dir = await mkdtemp(join(tmpdir(), 'batch-api-machines-'));
  const { region, credentials } = LOCAL_S3;
  const s3 = await startS3({ dataDir: join(dir, 's3'), region, credentials });
  s3.createBucket(machines.bucket);
  const client = createS3Client({ region, credentials, endpoint: s3.url });
  const timeouts = MACHINES.flatMap((name) => machines.definitions[name].TimeoutSeconds ?? []);
  const clock = createTestClock(timeouts);

  // One execution at a time: what functions play and what is seen belongs to it.
  let playing: Playing | undefined;
  const harness = await startHarness(
    Object.fromEntries(MACHINES.map((name) => [name, withoutPauses(machines.definitions[name])])),
    {},
    {
      dataDir: join(dir, 'stepfunctions'),
      s3Url: s3.url,
      clock,
      async invokeFunction(arn, payload) {
        if (!playing) throw new Error(`${arn} was called, and nothing plays`);
        return answer(playing, machines.stepOf(arn), payload);
      },
    },
  );
  const taken = { batch: new Set<string>(), notification: new Set<string>(), snapshot: new Set<string>() };
  const forget = harness.server.observe(({ executionArn, type, state }) => {
    if (type !== 'StateEntered' || state === undefined || !playing) return;
    const states = playing.entered.get(executionArn) ?? [];
    playing.entered.set(executionArn, [...states, state]);
  });

  async function begin(machine: MachineName, input: Input, script: Script, { holdWaits = false } = {}): Promise<Begun> {
    const own: Playing = { script, counts: new Map(), calls: [], faults: [], entered: new Map() };
    playing = own;
    clock.forget();
    const waiting = holdWaits ? clock.hold() : new Promise<void>(() => undefined);
    const arn = await harness.start(machine, input);
    return {
      waiting,
      stop: async () => void (await harness.client.send(new StopExecutionCommand({ executionArn: arn }))),
      async ended() {
        await harness.server.settled(arn);
        const played = await playedOf(harness, arn, own, clock.waits());
        for (const one of waysOfPlay(own, arn, played.status)) taken[machine].add(one);
        return played;
      },
    };
  }

  return {
    machines,
    clock,
    taken,
    begin,
    play: async (machine, input, script) => (await begin(machine, input, script)).ended(),
    putList: (items) => putList(client, machines.bucket, items),
    async close() {
      forget();
      await harness.close();
      client.destroy();
      await s3.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

type Playing = {
  script: Script;
  counts: Map<StepName, number>;
  calls: Call[];
  /** What breaks a step's contract, or was not in the script. */
  faults: string[];
  entered: Map<string, string[]>;
};

/** Plays one call, and holds the machine and the script to the steps' contracts. */
async function answer(playing: Playing, step: StepName, payload: unknown) {
  const input = payload as Input; // a step's input is an object
  const count = playing.counts.get(step) ?? 0;
  playing.counts.set(step, count + 1);
  playing.calls.push({ step, input });
  const checked = steps[step].input.safeParse(input);
  if (!checked.success) playing.faults.push(`${step} was given what it does not take: ${checked.error.message}`);
  const replies = playing.script[step];
  const reply = Array.isArray(replies) ? replies[count] : replies;
  if (reply === undefined) {
    playing.faults.push(`${step} was called ${count + 1} times, which the script does not have`);
    return { error: { errorType: 'InvalidStepInput', errorMessage: 'not in the script' } };
  }
  if (reply instanceof FunctionFailure) return failure(reply);
  try {
    const given = typeof reply === 'function' ? await reply(input) : { ...withoutError(input), ...reply };
    const output = steps[step].output.safeParse(given);
    if (!output.success) playing.faults.push(`The script's answer of ${step} is none: ${output.error.message}`);
    return { payload: given };
  } catch (error) {
    if (error instanceof FunctionFailure) return failure(error);
    throw error;
  }
}

const failure = ({ errorType, message }: FunctionFailure) => ({ error: { errorType, errorMessage: message } });

/** A step answers its own fields: what failed before it is not among them. */
function withoutError({ error: _, ...input }: Input): Input {
  return input;
}

async function playedOf(harness: Harness, arn: string, playing: Playing, waits: number[]): Promise<Played> {
  const { status, error, cause, output } = await harness.describe(arn);
  if (playing.faults.length > 0) throw new Error(playing.faults.join('\n'));
  return {
    status,
    error,
    cause,
    output: output === undefined ? undefined : JSON.parse(output),
    path: playing.entered.get(arn) ?? [],
    children: [...playing.entered].filter(([id]) => id !== arn).map(([, states]) => states),
    calls: playing.calls,
    waits,
  };
}

function waysOfPlay({ entered }: Playing, arn: string, status: string | undefined): string[] {
  const whole = status === 'SUCCEEDED' || status === 'FAILED';
  return [...entered].flatMap(([id, states]) =>
    id === arn
      ? waysTaken(states, { ended: whole })
      : // `…:execution:<machine>/<map>:<name>`; a child that failed ended in a task, which is no way of the definition.
        waysTaken(states, { prefix: `${id.split(':').at(-2)?.split('/').at(-1)}/`, ended: true }),
  );
}

let lists = 0;
async function putList(client: S3Client, bucket: string, items: unknown[] | string): Promise<string> {
  lists += 1;
  const Key = `shards/project/batch/${lists}-shards.jsonl`;
  const text = typeof items === 'string' ? items : items.map((item) => `${JSON.stringify(item)}\n`).join('');
  await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: Buffer.from(text) }));
  return Key;
}
