import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { FINAL_ERRORS, STEP_VERSION, type StepInput, type StepName, steps } from '../../shared/contract/steps.ts';
import { OLDER_STEPS, type OlderSteps, STEP_VERSION_UNKNOWN } from '../../shared/contract/stepVersions.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { lambdaContext } from '../support/httpEvents.ts';
import { recordedLog } from '../support/recordedLog.ts';

/**
 * A version of the contracts as it was deployed: executions of it may be in flight when newer code comes. Never changed
 * once it was released; a change of a contract raises `STEP_VERSION` and adds a file.
 */
type Frozen = Record<StepName, { inputs: object[]; answers: object[]; input: object; output: object }>;

const FOLDER = join(import.meta.dirname, 'stepVersions');
const versions = readdirSync(FOLDER).map((name) => Number(name.replace('.json', '')));
const frozen = (version: number) => JSON.parse(readFileSync(join(FOLDER, `${version}.json`), 'utf8')) as Frozen; // written by this project alone
const names = Object.keys(steps) as StepName[];
const schemaOf = (schema: z.ZodType) => JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io: 'input' }))) as object;

describe('the version of the steps’ contracts', () => {
  test('is raised when a contract changes: this one is frozen', () => {
    expect(Math.max(...versions)).toBe(STEP_VERSION);
    const contracts = (of: (name: StepName) => object) => Object.fromEntries(names.map((name) => [name, of(name)]));
    const known = frozen(STEP_VERSION);
    expect(contracts((name) => ({ input: schemaOf(steps[name].input), output: schemaOf(steps[name].output) }))).toEqual(
      contracts((name) => ({ input: known[name].input, output: known[name].output })),
    );
    expect(Object.keys(frozen(STEP_VERSION)).sort()).toEqual([...names].sort());
  });

  test.each(names)(
    '%s has a frozen example of each way that it can answer, and each is the next step’s input',
    (name) => {
      const { inputs, answers } = frozen(STEP_VERSION)[name];
      for (const input of inputs) expect(steps[name].input.safeParse(input).error).toBeUndefined();
      for (const answer of answers) expect(steps[name].output.safeParse(answer).error).toBeUndefined();
      const ways = answers.map((answer) => ('next' in answer ? answer.next : undefined));
      expect([...new Set(ways)].sort()).toEqual([...steps[name].output.shape.next.options].sort());
    },
  );

  test('that other code has left is never tried again by the machines', () => {
    expect(FINAL_ERRORS).toContain(STEP_VERSION_UNKNOWN);
  });
});

describe.each(versions)('an execution of version %i', (version) => {
  test.each(names.filter((name) => name in frozen(version)))('has its %s read, or refused by name', async (name) => {
    const { inputs, answers } = frozen(version)[name];
    const isKnown = version === STEP_VERSION || OLDER_STEPS[version]?.[name] !== undefined;
    for (const given of inputs) {
      const read: unknown[] = [];
      const handler = stepHandler(name, { log: recordedLog() }, async (input) => {
        read.push(input);
        throw new Error('read');
      });
      await expect(handler(given, lambdaContext())).rejects.toMatchObject(
        isKnown ? { message: 'read' } : { name: STEP_VERSION_UNKNOWN },
      );
      expect(read).toHaveLength(isKnown ? 1 : 0);
    }
    expect(answers.every((answer) => 'version' in answer && answer.version === version)).toBe(true);
  });
});

describe('a step that is given another version', () => {
  const RUN = { projectId: 'acme', batchId: 'batch_1', attempt: 1 };
  const older: OlderSteps = {
    // As if version 0 had called the attempt `number`, and had known no round.
    0: {
      planShards: {
        read: (input) => {
          const { number, ...rest } = input as { number: number };
          return { ...rest, version: STEP_VERSION, attempt: number };
        },
        answer: ({ attempt, round: _, ...rest }) => ({ ...rest, version: 0, number: attempt }),
      },
    },
  };
  const seen: StepInput<'planShards'>[] = [];
  const handlerOf = (olderSteps?: OlderSteps) =>
    stepHandler('planShards', { log: recordedLog(), ...(olderSteps ? { olderSteps } : {}) }, async (input) => {
      seen.push(input);
      return { ...input, next: 'finalize', round: input.round + 1 };
    });

  test('that it knows reads it as its own, and answers in the old shape', async () => {
    const { attempt: number, ...ids } = RUN;
    const answer = await handlerOf(older)({ ...ids, version: 0, number }, lambdaContext());
    expect(seen.pop()).toEqual({ ...RUN, version: STEP_VERSION, round: 0 });
    expect(answer).toEqual({ ...ids, version: 0, number, next: 'finalize' });
  });

  test('that it knows, but with an input that is none, refuses the input', async () => {
    await expect(handlerOf(older)({ version: 0, number: 'x' }, lambdaContext())).rejects.toMatchObject({
      name: 'InvalidStepInput',
    });
  });

  test.each([0, 2, 99])('that it does not know (%i) does nothing, and says so by name', async (version) => {
    await expect(handlerOf()({ ...RUN, version }, lambdaContext())).rejects.toMatchObject({
      name: STEP_VERSION_UNKNOWN,
    });
    expect(seen).toEqual([]);
  });

  test('that is no number refuses the input', async () => {
    await expect(handlerOf()({ ...RUN, version: '1' }, lambdaContext())).rejects.toMatchObject({
      name: 'InvalidStepInput',
    });
  });
});
