import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/adapters/system/clock.ts';
import type { StepOutput } from '../../shared/contract/steps.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { fetchInput } from '../../shared/usecases/fetchInput.ts';
import { type InputDeps, type InputSteps, startInputSteps } from '../support/inputSteps.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

const MIB = 1024 * 1024;
let steps: InputSteps;
let web: WebServer | undefined;
beforeAll(async () => {
  steps = await startInputSteps();
});
afterAll(() => steps.close());
afterEach(async () => {
  await web?.close();
  web = undefined;
});

async function serve(listener: RequestListener): Promise<string> {
  web = await startWebServer(listener);
  return `${web.url}/input.jsonl?signature=SECRET`;
}

type Fetching = { deps?: InputDeps; remainingMs?: () => number; checkpoint?: string | undefined };

function fetchFor(
  head: BatchHead,
  { deps, remainingMs, checkpoint }: Fetching = {},
): Promise<StepOutput<'fetchInput'>> {
  const { projectId, batchId } = head;
  return fetchInput(
    deps ?? steps.deps,
    { version: 1, projectId, batchId, attempt: 1, ...(checkpoint === undefined ? {} : { checkpoint }) },
    { remainingMs: remainingMs ?? (() => 900_000) },
  );
}

/** The text that Validate would read. */
async function fetched(head: BatchHead): Promise<string> {
  const { input } = await steps.head(head);
  if (!input) return expect.fail('no input on the record');
  const text = await steps.read(input.key);
  expect(input.bytes).toBe(Buffer.byteLength(text));
  expect((await steps.deps.files.info(input.key))?.etag).toBe(input.etag);
  return text;
}

async function expectRejected(head: BatchHead, code: string, message: RegExp, fetching: Fetching = {}): Promise<void> {
  expect((await fetchFor(head, fetching)).next).toBe('finalize');
  const { errors } = await steps.detail(head);
  expect(errors).toEqual([{ code, line: null, message: expect.stringMatching(message), param: 'input_file_url' }]);
  expect(errors[0]?.message).not.toMatch(/SECRET/);
  const after = await steps.head(head);
  expect(after.outcome).toMatchObject({ kind: 'failed', reason: code });
  expect(after.input).toBeUndefined();
}

/** Serves `body` with ranges and an ETag; `cut` says after how many bytes the nth answer breaks off. */
function ranged(
  body: Buffer,
  options: { etag?: string; cut?: (request: number) => number | undefined } = {},
): RequestListener {
  let requests = 0;
  const etag = options.etag ?? '"v1"';
  return (request: IncomingMessage, response: ServerResponse) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const rest = body.subarray(start);
    const cut = options.cut?.(requests++);
    const range = start > 0 ? { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` } : {};
    response.writeHead(start > 0 ? 206 : 200, {
      etag,
      'accept-ranges': 'bytes',
      'content-length': rest.length,
      ...range,
    });
    if (cut === undefined) response.end(rest);
    else response.write(rest.subarray(0, cut), () => response.destroy());
  };
}

const lines = (count: number) =>
  Array.from({ length: count }, (_, at) => `{"custom_id":"r${at}","text":"Grüße 🎈"}\n`).join('');

describe('an input behind a URL', () => {
  it('is copied as it is', async () => {
    const text = `\ufeff${lines(5_000)}last`;
    const head = await steps.createBatch({ inputFileUrl: await serve((_request, response) => response.end(text)) });
    expect(await fetchFor(head)).toEqual({
      version: 1,
      projectId: head.projectId,
      batchId: head.batchId,
      attempt: 1,
      next: 'validate',
    });
    expect(await fetched(head)).toBe(text);
    expect((await fetchFor(head)).next).toBe('validate');
    expect(web?.requests).toHaveLength(1);
  });

  it('may be in an S3 bucket that is allowed, and in no other', async () => {
    await steps.deps.files.put('elsewhere/a b.jsonl', lines(3));
    const good = await steps.createBatch({ inputFileUrl: `s3://${steps.bucket}/elsewhere/a b.jsonl` });
    expect((await fetchFor(good)).next).toBe('validate');
    expect(await fetched(good)).toBe(lines(3));
    const bad = await steps.createBatch({ inputFileUrl: 's3://other-bucket/a.jsonl' });
    await expectRejected(bad, 'input_file_forbidden', /other-bucket/);
  });

  it('may be empty: that is for Validate to say', async () => {
    const head = await steps.createBatch({ inputFileUrl: await serve((_request, response) => response.end()) });
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe('');
  });

  it.each([
    [404, 'input_file_unreachable'],
    [500, 'input_file_unreachable'],
    [401, 'input_file_forbidden'],
    [403, 'input_file_forbidden'],
  ])('that answers %i fails the batch as %s', async (status, code) => {
    const url = await serve((_request, response) => response.writeHead(status).end());
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), code, new RegExp(`${status}`));
  });

  it('that redirects without end, and one that nobody answers, fail the batch', async () => {
    const around = await serve((_request, response) => response.writeHead(302, { location: '/again' }).end());
    await expectRejected(await steps.createBatch({ inputFileUrl: around }), 'input_file_unreachable', /redirects/);
    await web?.close();
    await expectRejected(await steps.createBatch({ inputFileUrl: around }), 'input_file_unreachable', /cannot be read/);
  });

  it('that is too large is refused by its announced length, before it is read', async () => {
    const deps = steps.with({ limits: { inputBytes: 1_000 } });
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 50 * MIB });
      response.write('x');
    });
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), 'file_too_large', /1000 bytes/, { deps });
  });

  it('that turns out too large is refused while it is read', async () => {
    const deps = steps.with({ limits: { inputBytes: 1_000 } });
    const url = await serve((_request, response) => {
      const more = () => response.write('x'.repeat(10_000));
      response.on('drain', more);
      more();
    });
    const head = await steps.createBatch({ inputFileUrl: url });
    await expectRejected(head, 'file_too_large', /1000 bytes/, { deps });
    const exact = await serve((_request, response) => response.end('x'.repeat(1_000)));
    expect((await fetchFor(await steps.createBatch({ inputFileUrl: exact }), { deps })).next).toBe('validate');
  });
});

describe('a connection that breaks', () => {
  const body = Buffer.from(lines(20_000));

  it('is gone on with at the missing byte', async () => {
    const url = await serve(ranged(body, { cut: (request) => (request < 3 ? 100_001 : undefined) }));
    const head = await steps.createBatch({ inputFileUrl: url });
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe(body.toString());
    expect(web?.requests.length).toBe(4);
  });

  it('is given up where it never brings another byte', async () => {
    const url = await serve(ranged(body, { cut: () => 0 }));
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), 'input_file_unreachable', /cannot be read/);
    expect(web?.requests.length).toBeLessThan(20);
  });

  it('is not gone on with where the file has changed', async () => {
    let requests = 0;
    const first = ranged(body, { cut: () => 100_000 });
    const second = ranged(body, { etag: '"v2"' });
    const url = await serve((request, response) => (requests++ === 0 ? first : second)(request, response));
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), 'input_file_changed', /changed/);
  });

  it('starts from the beginning where the server serves no ranges, but not for ever', async () => {
    let breaks = 2;
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': body.length });
      if (breaks-- > 0) response.write(body.subarray(0, 50_000), () => response.destroy());
      else response.end(body);
    });
    const head = await steps.createBatch({ inputFileUrl: url });
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe(body.toString());
    breaks = 100;
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), 'input_file_unreachable', /cannot be read/);
  });
});

describe('a gzip input', () => {
  const text = lines(30_000);
  const packed = gzipSync(text);

  it.each([
    ['by its bytes alone', {}],
    ['with Content-Encoding: gzip', { 'content-encoding': 'gzip' }],
  ])('is unpacked, known %s', async (_name, headers) => {
    const url = await serve((_request, response) => response.writeHead(200, headers).end(packed));
    const head = await steps.createBatch({ inputFileUrl: url });
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe(text);
  });

  it('may have several members, and break off on its way', async () => {
    const members = Buffer.concat([packed, gzipSync('more\n')]);
    const url = await serve(
      ranged(members, { cut: (request) => (request === 0 ? 1 : request === 1 ? 30_000 : undefined) }),
    );
    const head = await steps.createBatch({ inputFileUrl: url });
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe(`${text}more\n`);
  });

  it('that is cut off or damaged says so', async () => {
    const short = await serve((_request, response) => response.end(packed.subarray(0, -20)));
    await expectRejected(await steps.createBatch({ inputFileUrl: short }), 'invalid_value', /cut off/);
    await web?.close();
    const damaged = Buffer.from(packed);
    damaged.fill(0xff, 1_000, 1_100);
    const url = await serve((_request, response) => response.end(damaged));
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), 'invalid_value', /damaged/);
  });

  it('that unpacks to more than is allowed is refused', async () => {
    const deps = steps.with({ limits: { inputBytes: MIB } });
    const bomb = gzipSync(Buffer.alloc(100 * MIB));
    expect(bomb.length).toBeLessThan(MIB);
    const url = await serve((_request, response) => response.end(bomb));
    await expectRejected(await steps.createBatch({ inputFileUrl: url }), 'file_too_large', /1048576/, { deps });
  });
});

describe('an upload', () => {
  const upload = async (body: Buffer | string, announced?: number) => {
    const projectId = `project-${Math.random().toString(36).slice(2)}`;
    const fileId = await steps.putUpload(projectId, body, announced);
    return { projectId, fileId, head: await steps.createBatch({ projectId, inputFileUrl: `file://${fileId}` }) };
  };

  it('is used in place', async () => {
    const { head, fileId } = await upload(lines(10));
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe(lines(10));
    expect((await steps.head(head)).input?.key).toContain(fileId);
  });

  it('that is gzip is unpacked into a copy', async () => {
    const { head, fileId } = await upload(gzipSync(lines(10)));
    expect((await fetchFor(head)).next).toBe('validate');
    expect(await fetched(head)).toBe(lines(10));
    expect((await steps.head(head)).input?.key).not.toContain(fileId);
  });

  it('that is not there, another project’s, of another size or too large fails the batch', async () => {
    const none = await steps.createBatch({ inputFileUrl: 'file://file_none' });
    await expectRejected(none, 'input_file_unreachable', /no upload/);
    const { fileId } = await upload('x');
    const foreign = await steps.createBatch({ inputFileUrl: `file://${fileId}` });
    await expectRejected(foreign, 'input_file_unreachable', /no upload/);
    await expectRejected((await upload('x', 2)).head, 'input_file_changed', /1 bytes.*announced with 2/);
    const deps = steps.with({ limits: { inputBytes: 5 } });
    await expectRejected((await upload('123456')).head, 'file_too_large', /5 bytes/, { deps });
  });
});

describe('an invocation that runs out of time', () => {
  const body = Buffer.from(lines(400_000));
  // Whose looks at the time are 10 s apart: these invocations see it at their first chunk.
  const unwatched = () => ({ deps: { ...steps.deps, clock: systemClock }, remainingMs: () => 1 });

  it('leaves the rest to the next ones, byte for byte', async () => {
    const url = await serve(ranged(body));
    const head = await steps.createBatch({ inputFileUrl: url });
    let checkpoint: string | undefined;
    let turns = 0;
    for (;;) {
      let chunks = 0;
      const answer = await fetchFor(head, { checkpoint, remainingMs: () => (++chunks > 60 ? 59_000 : 61_000) });
      turns++;
      if (answer.next === 'validate') break;
      expect(answer.next).toBe('fetch');
      checkpoint = answer.checkpoint;
      if (checkpoint === undefined) return expect.fail('no checkpoint');
    }
    expect(turns).toBeGreaterThan(2);
    expect(Buffer.from(await fetched(head)).equals(body)).toBe(true);
  });

  it('may run out of it at the very end of a source of unknown length', async () => {
    const whole = Buffer.from(lines(100));
    const url = await serve((request, response) => {
      const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const headers = { etag: '"v1"', 'accept-ranges': 'bytes' };
      if (start >= whole.length) return response.writeHead(416, { 'content-range': `bytes */${whole.length}` }).end();
      // Chunked, so that no length is told; the total of a range may be left open, too.
      const range = { 'content-range': `bytes ${start}-${whole.length - 1}/*` };
      response.writeHead(start > 0 ? 206 : 200, { ...headers, ...(start > 0 ? range : {}) });
      response.write(whole.subarray(start));
      response.end();
    });
    const head = await steps.createBatch({ inputFileUrl: url });
    const handedOver = await fetchFor(head, unwatched());
    expect(handedOver.next).toBe('fetch');
    expect((await fetchFor(head, { checkpoint: handedOver.checkpoint })).next).toBe('validate');
    expect(await fetched(head)).toBe(whole.toString());
  });

  it('starts anew where what was copied is gone', async () => {
    const url = await serve(ranged(body));
    const head = await steps.createBatch({ inputFileUrl: url });
    const { checkpoint } = await fetchFor(head, unwatched());
    expect(checkpoint).toBeDefined();
    await steps.deps.files.delete([checkpoint ?? '']);
    expect((await fetchFor(head, { checkpoint })).next).toBe('validate');
    expect(Buffer.from(await fetched(head)).equals(body)).toBe(true);
  });

  it('refuses a file that changes in between', async () => {
    let answer = ranged(body);
    const url = await serve((request, response) => answer(request, response));
    const head = await steps.createBatch({ inputFileUrl: url });
    const { checkpoint } = await fetchFor(head, unwatched());
    answer = ranged(body, { etag: '"v2"' });
    await expectRejected(head, 'input_file_changed', /changed/, { checkpoint });
  });

  it('says so where the source cannot be gone on with', async () => {
    const url = await serve((_request, response) => response.end(body));
    const head = await steps.createBatch({ inputFileUrl: url });
    await expectRejected(head, 'input_file_unreachable', /in the time there is/, unwatched());
  });
});

describe('a batch that is to stop', () => {
  it('is not fetched', async () => {
    const url = await serve((_request, response) => response.end(lines(1)));
    const stopped = await steps.createBatch({ inputFileUrl: url }, { action: 'stop', reason: 'cancelled' });
    expect((await fetchFor(stopped)).next).toBe('finalize');
    const newer = await steps.createBatch({ inputFileUrl: url, attempt: 2 });
    expect((await fetchFor(newer)).next).toBe('end');
    expect((await fetchFor({ ...newer, batchId: 'batch_none' })).next).toBe('end');
    expect(web?.requests).toEqual([]);
  });

  it('is left in the middle of the file', async () => {
    const head = await steps.createBatch({
      inputFileUrl: await serve((_request, response) => {
        const more = () => response.write('x'.repeat(100_000));
        response.on('drain', more);
        more();
      }),
    });
    let looks = 0;
    const controls = {
      ...steps.deps.controls,
      get: async (batchId: string) => {
        if (++looks === 4) await steps.deps.controls.stop(batchId, 'cancelled');
        return steps.deps.controls.get(batchId);
      },
    };
    expect((await fetchFor(head, { deps: { ...steps.deps, controls } })).next).toBe('finalize');
    const after = await steps.head(head);
    expect([after.input, after.outcome]).toEqual([undefined, undefined]);
  });

  it.each([
    ['before its head', (_request: IncomingMessage, _response: ServerResponse) => undefined],
    [
      'in its middle',
      (_request: IncomingMessage, response: ServerResponse) =>
        void response.writeHead(200, { 'accept-ranges': 'bytes', etag: '"a"' }).write(lines(1)),
    ],
  ])('is left though its source is silent %s', async (_name, listener) => {
    const asked = Promise.withResolvers<void>();
    const inputFileUrl = await serve((request, response) => {
      listener(request, response);
      asked.resolve();
    });
    const head = await steps.createBatch({ inputFileUrl });
    const fetching = fetchFor(head);
    await asked.promise;
    await steps.deps.controls.stop(head.batchId, 'cancelled');
    expect((await fetching).next).toBe('finalize');
    const after = await steps.head(head);
    expect([after.input, after.outcome]).toEqual([undefined, undefined]);
    expect(web?.requests).toHaveLength(1);
  });

  it('because a newer attempt took over deletes its own copy', async () => {
    const head = await steps.createBatch({ inputFileUrl: await serve((_request, response) => response.end(lines(1))) });
    const batches = {
      ...steps.deps.batches,
      setInput: async (...args: Parameters<typeof steps.deps.batches.setInput>) => {
        await steps.deps.batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
        return steps.deps.batches.setInput(...args);
      },
    };
    expect((await fetchFor(head, { deps: { ...steps.deps, batches } })).next).toBe('end');
    expect(await steps.deps.files.info(`inputs/${head.projectId}/${head.batchId}/1.jsonl`)).toBeUndefined();
  });

  it('because a twin of it has gone on rejects nothing any more', async () => {
    let head: BatchHead | undefined;
    const inputFileUrl = await serve(async (_request, response) => {
      if (head) await steps.deps.batches.move(head, 'in_progress', { now: Date.now(), attempt: 1 });
      response.writeHead(404).end();
    });
    head = await steps.createBatch({ inputFileUrl });
    expect((await fetchFor(head)).next).toBe('end');
    const after = await steps.head(head);
    expect([after.status, after.outcome]).toEqual(['in_progress', undefined]);
    expect((await steps.detail(head)).errors).toEqual([]);
  });
});
