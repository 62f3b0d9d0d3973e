import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { initialBitmap, isBitSet } from '../../shared/domain/shard.ts';
import { validateInput } from '../../shared/usecases/validateInput.ts';
import { type InputDeps, type InputSteps, startInputSteps } from '../support/inputSteps.ts';

let steps: InputSteps;
beforeAll(async () => {
  steps = await startInputSteps();
});
afterAll(() => steps.close());

const request = (id: unknown, more: object = {}) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/agents/a/invoke', body: { input: 'Grüße 🎈' }, ...more });
const requests = (count: number) => Array.from({ length: count }, (_, at) => request(`r${at + 1}`));
const invocation = { remainingMs: () => 900_000 };

async function validate(head: BatchHead, deps: InputDeps = steps.deps, attempt = 1): Promise<string> {
  const { projectId, batchId } = head;
  return (await validateInput(deps, { version: 1, projectId, batchId, attempt }, invocation)).next;
}

describe('a good input', () => {
  it('is planned, counted and hashed, and the batch moves on', async () => {
    const text = `${requests(120).join('\n')}\n`;
    const head = await steps.createFetched(text);
    expect(await validate(head)).toBe('plan');
    const after = await steps.head(head);
    expect(after).toMatchObject({
      status: 'in_progress',
      requestCounts: { total: 120, completed: 0, failed: 0 },
      plan: {
        shards: 3,
        lines: 120,
        runnable: 120,
        input: { bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') },
      },
    });
    expect(after.plan?.invalid).toBeUndefined();
    expect((await steps.shards(head)).map(({ firstLine, lines }) => [firstLine, lines])).toEqual([
      [1, 50],
      [51, 50],
      [101, 20],
    ]);
    expect((await steps.detail(head)).errors).toEqual([]);
  });

  it('may have a BOM, CRLF, blank lines and no newline at its end', async () => {
    const text = `\ufeff${request('a')}\r\n\r\n   \n${request('b')}\n\n${request('ü-ключ-键')}`;
    const head = await steps.createFetched(text);
    expect(await validate(head)).toBe('plan');
    const [shard] = await steps.shards(head);
    if (!shard) return expect.fail('no shard');
    expect(shard).toMatchObject({ firstLine: 1, lines: 6, runnable: 3, start: 3 });
    const skip = initialBitmap(shard);
    expect([0, 1, 2, 3, 4, 5].filter((at) => !isBitSet(skip, at))).toEqual([0, 3, 5]);
    const bytes = Buffer.from(text).subarray(shard.start, shard.end).toString('utf8');
    expect(bytes.startsWith('{"custom_id":"a"') && bytes.endsWith('}')).toBe(true);
  });

  it('is validated the same again, and does nothing for an attempt that is not the newest', async () => {
    const head = await steps.createFetched(requests(3).join('\n'));
    expect(await validate(head, steps.deps, 2)).toBe('end');
    expect(await validate(head)).toBe('plan');
    const after = await steps.head(head);
    expect(await validate(head)).toBe('plan');
    expect(await steps.head(head)).toEqual(after);
  });
});

describe('a bad line', () => {
  const lines = [
    request('a'),
    '[1,2]',
    request('b', { method: 'GET' }),
    '',
    request('a'),
    request('c', { url: '/vectors', body: { vectors: [] } }),
    request('d', { body: { input: 'x', stream: true } }),
    request('e'),
    '{"custom_id":"f","met',
  ];

  it('fails the whole batch, before a model call is paid for', async () => {
    const head = await steps.createFetched(lines.join('\n'));
    expect(await validate(head)).toBe('finalize');
    const after = await steps.head(head);
    expect(after).toMatchObject({
      status: 'validating',
      outcome: { kind: 'failed', reason: 'invalid_input' },
      requestCounts: { total: 8, completed: 0, failed: 6 },
      plan: { shards: 0, lines: 8, runnable: 2, invalid: { lines: 6 } },
    });
    expect((await steps.detail(head)).errors.map(({ code, line, param }) => [code, line, param])).toEqual([
      ['invalid_line', 2, null],
      ['invalid_method', 3, 'method'],
      ['duplicate_custom_id', 5, 'custom_id'],
      ['url_not_allowed_for_type', 6, 'url'],
      ['unsupported_parameter', 7, 'body.stream'],
      ['invalid_json_line', 9, null],
    ]);
    expect(await steps.shards(head)).toEqual([]);
    expect((await steps.invalidLines(head)).map(({ line }) => line)).toEqual([2, 3, 5, 6, 7, 9]);
    expect(await validate(head)).toBe('finalize');
  });

  it('goes to the errors file and the others run, where it is to be skipped', async () => {
    const head = await steps.createFetched(lines.join('\n'), { onInvalidLine: 'skip' });
    expect(await validate(head)).toBe('plan');
    const after = await steps.head(head);
    expect(after).toMatchObject({ status: 'in_progress', plan: { shards: 1, lines: 8, runnable: 2 } });
    expect(after.outcome).toBeUndefined();
    const [shard] = await steps.shards(head);
    expect(shard).toMatchObject({ firstLine: 1, lines: 8, runnable: 2 });

    const entries = await steps.invalidLines(head);
    expect(entries[1]).toEqual({
      id: `${head.batchId}_b`,
      custom_id: 'b',
      line: 3,
      response: null,
      error: { code: 'invalid_method', message: 'method must be "POST", not "GET".' },
      attempts: 0,
    });
    expect(entries[0]).toMatchObject({ id: `${head.batchId}_line-2`, custom_id: null });
    expect(entries[2]).toMatchObject({ id: `${head.batchId}_line-5`, custom_id: null });
    expect(entries[2]?.error.message).toMatch(/"a" is taken: line 1 has it/);
    expect(entries[5]?.error.message).toMatch(/cut off/);
  });

  it('leaves a batch without shards, where there is no other', async () => {
    const head = await steps.createFetched('[]\nnull\n', { onInvalidLine: 'skip' });
    expect(await validate(head)).toBe('plan');
    expect(await steps.head(head)).toMatchObject({
      status: 'in_progress',
      requestCounts: { total: 2, completed: 0, failed: 2 },
      plan: { shards: 0, runnable: 0, invalid: { lines: 2 } },
    });
  });

  it('is one of many: the record keeps the first hundred, the errors file all of them, in order', async () => {
    const many = Array.from({ length: 1_700 }, (_, at) => (at % 2 === 0 ? request('same') : '{"bad":'));
    const head = await steps.createFetched(many.join('\n'), { onInvalidLine: 'skip' });
    await validate(head);
    const { errors } = await steps.detail(head);
    expect(errors).toHaveLength(100);
    expect(errors[99]?.line).toBe(101);
    const entries = await steps.invalidLines(head);
    expect(entries.map(({ line }) => line)).toEqual(Array.from({ length: 1_699 }, (_, at) => at + 2));
  });

  it('of a page of HTML says that it looks like one, in every line', async () => {
    const head = await steps.createFetched('<!DOCTYPE html>\n<html><body>\nNot found\n</body></html>\n');
    expect(await validate(head)).toBe('finalize');
    const { errors } = await steps.detail(head);
    expect(errors).toHaveLength(4);
    for (const { code, message } of errors) {
      expect(code).toBe('invalid_json_line');
      expect(message).toMatch(/looks like HTML/);
    }
  });

  it('that is too long, and one that is not UTF-8, harm no other', async () => {
    const deps = steps.with({ limits: { lineBytes: 10_000 } });
    const long = Buffer.from(request('long', { body: { input: 'x'.repeat(5_000_000) } }));
    const latin1 = Buffer.from(request('Köln'), 'latin1');
    const newline = Buffer.from('\n');
    const text = Buffer.concat([
      Buffer.from(request('a')),
      newline,
      long,
      newline,
      latin1,
      newline,
      Buffer.from(request('b')),
    ]);
    const head = await steps.createFetched(text, { onInvalidLine: 'skip' });
    expect(await validate(head, deps)).toBe('plan');
    expect((await steps.invalidLines(head)).map(({ line, error }) => [line, error.code])).toEqual([
      [2, 'line_too_long'],
      [3, 'invalid_utf8'],
    ]);
    expect(await steps.head(head)).toMatchObject({ plan: { runnable: 2 } });
  });

  it('finds duplicates far apart', async () => {
    const ids = requests(20_000);
    ids[19_998] = request('r2');
    const head = await steps.createFetched(ids.join('\n'), { onInvalidLine: 'skip' });
    await validate(head);
    expect((await steps.detail(head)).errors).toEqual([
      {
        code: 'duplicate_custom_id',
        line: 19_999,
        param: 'custom_id',
        message: expect.stringMatching(/line 2 has it/),
      },
    ]);
  });
});

describe('an input that cannot be used as a whole', () => {
  it.each<[string, string, Parameters<InputSteps['with']>[0], string]>([
    ['empty', '', {}, 'empty_file'],
    ['of blank lines alone', '\ufeff\n \r\n\t', {}, 'empty_file'],
    [
      'of one line too many',
      `${request('a')}\n\n${request('b')}\n[]\n`,
      { limits: { inputLines: 2 } },
      'too_many_lines',
    ],
  ])('%s fails the batch, also where bad lines are skipped', async (_name, text, settings, code) => {
    const head = await steps.createFetched(text, { onInvalidLine: 'skip' });
    expect(await validate(head, steps.with(settings))).toBe('finalize');
    expect((await steps.detail(head)).errors).toEqual([
      { code, line: null, message: expect.any(String), param: 'input_file_url' },
    ]);
    const after = await steps.head(head);
    expect(after).toMatchObject({ status: 'validating', outcome: { kind: 'failed', reason: code } });
    expect(after.plan).toBeUndefined();
  });

  it('may have just as many lines as are allowed', async () => {
    const head = await steps.createFetched(`${request('a')}\n\n${request('b')}\n\n`);
    expect(await validate(head, steps.with({ limits: { inputLines: 2 } }))).toBe('plan');
  });

  it.each(['changed', 'deleted'])('was %s after it was fetched', async (how) => {
    const head = await steps.createFetched(request('a'));
    const key = (await steps.head(head)).input?.key ?? '';
    if (how === 'changed') await steps.deps.files.put(key, request('b'));
    else await steps.deps.files.delete([key]);
    expect(await validate(head)).toBe('finalize');
    expect((await steps.detail(head)).errors).toMatchObject([{ code: 'input_file_changed' }]);
  });
});

describe('a batch that is to stop', () => {
  it.each<[string, (head: BatchHead) => Promise<unknown>, string]>([
    ['was told to', (head) => steps.deps.controls.stop(head.batchId, 'cancelled'), 'finalize'],
    ['is being cancelled', (head) => steps.deps.batches.move(head, 'cancelling', { now: Date.now() }), 'finalize'],
    ['has ended', (head) => steps.deps.batches.move(head, 'failed', { now: Date.now() }), 'end'],
    ['runs already', (head) => steps.deps.batches.move(head, 'in_progress', { now: Date.now() }), 'plan'],
  ])('%s is not validated', async (_name, prepare, next) => {
    const head = await steps.createFetched(request('a'));
    await prepare(head);
    expect(await validate(head)).toBe(next);
    expect((await steps.head(head)).plan).toBeUndefined();
  });

  it('because its time is over is not validated', async () => {
    const head = await steps.createBatch({}, { deadline: Date.now() - 1 });
    expect(await validate(head)).toBe('finalize');
  });

  it('in the middle of the file is left', async () => {
    const head = await steps.createFetched(requests(30_000).join('\n'));
    let now = Date.now();
    const clock = {
      ...steps.deps.clock,
      // Each look at the clock is 11 s later, so that the control record is read at every chunk.
      now: () => {
        now += 11_000;
        return now;
      },
    };
    let looks = 0;
    const controls = {
      ...steps.deps.controls,
      get: async (batchId: string) => {
        if (++looks === 3) await steps.deps.controls.stop(batchId, 'cancelled');
        return steps.deps.controls.get(batchId);
      },
    };
    expect(await validate(head, { ...steps.deps, clock, controls })).toBe('finalize');
    expect((await steps.head(head)).plan).toBeUndefined();
  });

  it('because a newer attempt took over leaves the record as that one made it', async () => {
    const head = await steps.createFetched(`[]\n${request('a')}`, { onInvalidLine: 'skip' });
    const theirs = [{ code: 'model_error', line: 2, message: 'of the newer attempt', param: null }];
    const files = {
      ...steps.deps.files,
      read: async (...args: Parameters<typeof steps.deps.files.read>) => {
        await steps.deps.batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
        await steps.deps.batches.setErrors(head.batchId, theirs);
        return steps.deps.files.read(...args);
      },
    };
    expect(await validate(head, { ...steps.deps, files })).toBe('end');
    expect((await steps.detail(head)).errors).toEqual(theirs);
  });
});
