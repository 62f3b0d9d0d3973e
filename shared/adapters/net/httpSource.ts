import { setTimeout as pause } from 'node:timers/promises';
import { type Agent, type Dispatcher, request } from 'undici';
import { InputRejected } from '../../domain/errors.ts';
import { parseRetryAfter } from '../../domain/retryAfter.ts';
import type { InputSource, OpenedSource } from '../../ports.ts';
import { type GuardOptions, parseTarget, TargetRefused } from './guard.ts';
import { createGuardedAgent } from './guardedAgent.ts';
import type { InputSourceOptions } from './inputSourceOptions.ts';
import { describeNetworkFault } from './networkFault.ts';

type Range = { start?: number; ifRange?: string; signal?: AbortSignal };
type Answer = { status: number; headers: Dispatcher.ResponseData['headers']; body: Dispatcher.ResponseData['body'] };

/** Five tries over about 15 s: a server that restarts or throttles is back by then. What lasts longer ends the batch. */
const PAUSES_MS = [500, 2_000, 4_000, 8_000];
/** A `Retry-After` up to this is waited for in place. */
const MAX_PAUSE_MS = 10_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const WORTH_ANOTHER_TRY = new Set([408, 425, 429, 500, 502, 503, 504]);

export function createHttpSource(options: Omit<InputSourceOptions, 'inputBuckets' | 's3Client'>): InputSource {
  const agent = createGuardedAgent(options, {
    connectMs: options.idleTimeoutMs,
    headMs: options.idleTimeoutMs,
    bodyMs: options.idleTimeoutMs,
  });
  return {
    async open(url, range = {}) {
      const pauses = options.pausesMs ?? PAUSES_MS;
      for (let tries = 0; ; tries++) {
        const waitMs = pauses[tries];
        try {
          const answer = await follow(agent, url, range, options);
          if (waitMs === undefined || !WORTH_ANOTHER_TRY.has(answer.status)) return await take(answer, url, range);
          discard(answer.body);
          const asked = parseRetryAfter(header(answer, 'retry-after'), Date.now()) ?? 0;
          await pauseFor(Math.max(waitMs, Math.min(asked, MAX_PAUSE_MS)), range);
        } catch (error) {
          if (range.signal?.aborted) throw range.signal.reason;
          if (error instanceof InputRejected) throw error;
          if (error instanceof TargetRefused) throw new InputRejected('input_file_forbidden', error.message);
          if (waitMs === undefined) throw unreachable(url, describeNetworkFault(error), error);
          await pauseFor(waitMs, range);
        }
      }
    },
  };
}

/** Rejects with the signal's reason when it is aborted. */
async function pauseFor(ms: number, range: Range): Promise<void> {
  try {
    await pause(ms, undefined, signalOf(range));
  } catch (error) {
    throw range.signal?.aborted ? range.signal.reason : error;
  }
}

/** Follows redirects, each hop parsed and checked like the first. The answer is the first that is none. */
async function follow(
  agent: Agent,
  first: string,
  range: Range,
  options: Pick<InputSourceOptions, 'idleTimeoutMs' | 'maxRedirects'> & GuardOptions,
): Promise<Answer> {
  let url = parseTarget(first, options);
  for (let hops = 0; hops <= options.maxRedirects; hops++) {
    const { statusCode, headers, body } = await withinMs(options.idleTimeoutMs, range.signal, (signal) =>
      request(url, { dispatcher: agent, method: 'GET', headers: requestHeaders(range), reset: true, signal }),
    );
    const location = headers.location;
    if (!REDIRECTS.has(statusCode) || typeof location !== 'string') return { status: statusCode, headers, body };
    discard(body);
    const next = URL.parse(location, url.href);
    if (!next) throw new InputRejected('input_file_unreachable', `${name(url.href)} redirects to what is not a URL.`);
    // `parseTarget` refuses http anyway unless private networks are allowed, where a downgrade is the caller's affair.
    url = parseTarget(next.href, options);
  }
  throw new InputRejected(
    'input_file_unreachable',
    `${name(first)} redirects more than ${options.maxRedirects} times.`,
  );
}

/** Bounds the wait for a head as a whole: undici's own clock starts again with each 1xx answer. */
async function withinMs<T>(ms: number, outer: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new HeadTimeout()), ms);
  try {
    return await work(outer ? AbortSignal.any([outer, late.signal]) : late.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Named as `AbortSignal.timeout` names its own. */
class HeadTimeout extends Error {
  override readonly name = 'TimeoutError';
}

function requestHeaders({ start = 0, ifRange }: Range): Record<string, string> {
  return {
    // `identity` shows the file as it is stored; a server that compresses all the same says so, and is understood.
    'accept-encoding': 'identity',
    accept: '*/*',
    'user-agent': 'batch-api',
    ...(start > 0 ? { range: `bytes=${start}-` } : {}),
    ...(start > 0 && ifRange !== undefined ? { 'if-range': ifRange } : {}),
  };
}

async function take(answer: Answer, url: string, range: Range): Promise<OpenedSource> {
  try {
    return accept(answer, url, range);
  } catch (error) {
    discard(answer.body);
    throw error;
  }
}

function accept(answer: Answer, url: string, { start = 0, ifRange }: Range): OpenedSource {
  const { status } = answer;
  if (status === 401 || status === 403)
    throw new InputRejected('input_file_forbidden', `${name(url)} answered ${status}.`);
  if (start > 0) {
    if (status === 200 || status === 412 || status === 416) throw changed(url);
    if (status === 206 && contentRange(answer)?.start !== start) {
      throw unreachable(url, 'it answered another range than was asked for');
    }
  }
  if (status !== (start > 0 ? 206 : 200)) throw unreachable(url, `it answered ${status}`);

  const etag = strongEtag(answer);
  if (ifRange !== undefined && etag !== undefined && etag !== ifRange) throw changed(url);
  const encoding = header(answer, 'content-encoding')?.trim().toLowerCase() ?? 'identity';
  const gzipped = encoding === 'gzip' || encoding === 'x-gzip';
  if (!gzipped && encoding !== 'identity' && encoding !== '') {
    throw unreachable(url, `its Content-Encoding "${encoding.slice(0, 32)}" is not one that is read (gzip is)`);
  }
  const bytes = start > 0 ? contentRange(answer)?.total : wholeNumber(header(answer, 'content-length'));
  return {
    body: readBody(answer, url),
    ...(bytes === undefined ? {} : { bytes }),
    ...(etag === undefined ? {} : { etag }),
    acceptsRanges: status === 206 || header(answer, 'accept-ranges')?.trim().toLowerCase() === 'bytes',
    gzip: gzipped || /\.gz$/i.test(new URL(url).pathname),
  };
}

/** Closes what will not be read; undici reports that as an error of the body, which is expected. */
function discard(body: Answer['body']): void {
  body.on('error', () => undefined).destroy();
}

async function* readBody(answer: Answer, url: string): AsyncGenerator<Uint8Array> {
  try {
    yield* answer.body as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw unreachable(url, describeNetworkFault(error), error);
  }
}

/** A validator that says the bytes are the same; a weak one does not (RFC 9110 8.8.1). */
function strongEtag(answer: Answer): string | undefined {
  const etag = header(answer, 'etag');
  return etag?.startsWith('"') ? etag : undefined;
}

function contentRange(answer: Answer): { start: number; total: number | undefined } | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header(answer, 'content-range') ?? '');
  return match ? { start: Number(match[1]), total: wholeNumber(match[2]) } : undefined;
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function header(answer: Answer, key: string): string | undefined {
  const value = answer.headers[key];
  return Array.isArray(value) ? value[0] : value;
}

function signalOf({ signal }: Range): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}

/** The host alone: paths and queries of pre-signed URLs are secrets. */
function name(url: string): string {
  return `The input file's host ${new URL(url).host}`;
}

function unreachable(url: string, why: string, cause?: unknown): InputRejected {
  return new InputRejected('input_file_unreachable', `${name(url)} cannot be read: ${why}.`, { cause });
}

function changed(url: string): InputRejected {
  return new InputRejected('input_file_changed', `The input file at ${new URL(url).host} changed while it was read.`);
}
