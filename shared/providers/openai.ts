import { type Dispatcher, errors, Pool } from 'undici';
import { parseRetryAfter } from '../domain/retryAfter.ts';
import type { ModelAnswer, ModelCall, ModelProvider } from '../ports.ts';

/** Beyond it the server is not there; the call's own timeout may be minutes. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Common servers close idle connections after 60 s and more (nginx 75 s, ALB 60 s): we close first. */
const KEEP_ALIVE_MS = 30_000;

export type OpenAiOptions = {
  /** Up to and with the version: `https://api.openai.com/v1`. */
  baseUrl: string;
  /**
   * Asked at every call, so that a rotated key is used; undefined where the server wants none. `refused`: the key that
   * the server did not take, asked for once a call.
   */
  apiKey(refused?: string): Promise<string | undefined>;
  maxSockets: number;
  /** For `Retry-After` dates. */
  now?: () => number;
};

/**
 * Any server that speaks OpenAI's dialect. One call is one request: nothing is retried (but with a newer key, where the
 * one at hand was refused), no redirect is followed, no body is logged. Rejects only with the reason of the caller's own signal, or where the key cannot be had.
 */
export function createOpenAiProvider({ baseUrl, apiKey, maxSockets, now = Date.now }: OpenAiOptions): ModelProvider {
  const base = new URL(baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`);
  const pool = new Pool(base.origin, {
    connections: maxSockets,
    pipelining: 1,
    // Over HTTP/2 one connection would carry everything, and `connections` would bound nothing.
    allowH2: false,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // The call's own timer covers head and body, and a body that dribbles too.
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  const path = (call: ModelCall) => `${base.pathname}${call.endpoint}${base.search}`;
  const post = (call: ModelCall, key: string | undefined, timeoutMs: number): Promise<ModelAnswer> =>
    exchange(pool, path(call), { ...call, timeoutMs }, key, now);

  return {
    async call(call) {
      call.signal?.throwIfAborted();
      const key = await apiKey();
      const endsAt = performance.now() + call.timeoutMs;
      const answer = await post(call, key, call.timeoutMs);
      if (answer.kind !== 'answered' || answer.status !== 401 || key === undefined) return answer;
      // A key that was rotated a moment ago is not refused to us: where there is another one, it decides.
      // All of it within the call's own time: a worker that is to stop waits for it.
      const renewing = apiKey(key).catch(() => key);
      const renewed = await settledWithin(renewing, call.signal, endsAt - performance.now());
      if (renewed === 'timeout') return { kind: 'timeout' };
      return renewed.value === key ? answer : await post(call, renewed.value, endsAt - performance.now());
    },
    close: () => pool.destroy(),
  };
}

/** Rejects with the signal's reason; what the work comes to after its time is nobody's. */
async function settledWithin<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  ms: number,
): Promise<{ value: T } | 'timeout'> {
  signal?.throwIfAborted();
  const listeners = signal && abortListeners(signal);
  const { promise, resolve, reject } = Promise.withResolvers<{ value: T } | 'timeout'>();
  const onAbort = () => reject(signal?.reason);
  const timer = setTimeout(() => resolve('timeout'), ms);
  listeners?.add(onAbort);
  work.then((value) => resolve({ value }), reject);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    listeners?.delete(onAbort);
  }
}

/** One request and its answer; rejects only with the reason of the caller's signal. */
function exchange(
  pool: Pool,
  path: string,
  call: ModelCall,
  key: string | undefined,
  now: () => number,
): Promise<ModelAnswer> {
  call.signal?.throwIfAborted();
  // Before anything is waited for: a body that cannot be written leaves no timer behind.
  const body = call.json ?? JSON.stringify(call.body);
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs, maxAnswerBytes } = call;
    const listeners = signal && abortListeners(signal);
    let isOver = false;
    let controller: Dispatcher.DispatchController | undefined;
    /** Ends the wait at once, also before there is a connection; what undici tells of it afterwards is expected. */
    const giveUp = (why: Error) => {
      if (!finish()) return;
      controller?.abort(why);
    };
    const finish = (): boolean => {
      if (isOver) return false;
      isOver = true;
      clearTimeout(timer);
      listeners?.delete(onAbort);
      return true;
    };
    const onAbort = () => {
      giveUp(OVER);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      giveUp(OVER);
      resolve({ kind: 'timeout' });
    }, timeoutMs);
    listeners?.add(onAbort);

    let status = 0;
    let bytes = 0;
    let retryAfterMs: number | undefined;
    const chunks: Uint8Array[] = [];
    const tooLarge = () => {
      // Closes the connection: what is still to come may have no end.
      giveUp(OVER);
      resolve({ kind: 'too_large' });
    };
    // Not `pool.request`: its stream, its signal and its promises took as long as all the rest of a call.
    pool.dispatch(
      { method: 'POST', path, headers: requestHeaders(call, key), body },
      {
        onRequestStart(started) {
          controller = started;
          if (isOver) started.abort(OVER);
        },
        onResponseStart(_, statusCode, headers) {
          // 1xx: the answer is still to come.
          if (isOver || statusCode < 200) return;
          status = statusCode;
          if (Number(headers['content-length'] ?? 0) > maxAnswerBytes) tooLarge();
          else retryAfterMs = readRetryAfter(headers, now());
        },
        onResponseData(_, chunk) {
          if (isOver) return;
          bytes += chunk.length;
          if (bytes > maxAnswerBytes) tooLarge();
          else chunks.push(chunk);
        },
        onResponseEnd() {
          if (!finish()) return;
          const whole = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes);
          resolve({ kind: 'answered', status, body: whole, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
        },
        onResponseError(_, error) {
          if (finish()) resolve({ kind: 'network', reason: networkReason(error) });
        },
      },
    );
  });
}

function requestHeaders(call: ModelCall, key: string | undefined): string[] {
  const headers = ['content-type', 'application/json', 'accept', 'application/json'];
  headers.push('idempotency-key', call.idempotencyKey);
  if (key !== undefined) headers.push('authorization', `Bearer ${key}`);
  return headers;
}

/** Told to undici where we end a call by ourselves; nobody else gets to see it. */
const OVER = new Error('The call is over');

/**
 * Who wants to know of a signal: one listener of its own for all, since a worker's calls share one signal, and adding
 * and removing a listener for each costs more than the call's own bookkeeping.
 */
function abortListeners(signal: AbortSignal): Set<() => void> {
  const known = listenersBySignal.get(signal);
  if (known) return known;
  const listeners = new Set<() => void>();
  listenersBySignal.set(signal, listeners);
  signal.addEventListener('abort', () => listeners.forEach((listener) => void listener()), { once: true });
  return listeners;
}
const listenersBySignal = new WeakMap<AbortSignal, Set<() => void>>();

type Headers = Record<string, string | string[] | undefined>;

/** `retry-after-ms` is what OpenAI and Azure send beside the header of RFC 9110, and finer. */
function readRetryAfter(headers: Headers, now: number): number | undefined {
  const first = (name: string) => {
    const value = headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const ms = first('retry-after-ms')?.trim();
  if (ms !== undefined && /^\d+(\.\d+)?$/.test(ms)) return Math.ceil(Number(ms));
  return parseRetryAfter(first('retry-after'), now);
}

/** A code in words: never the address, the path or anything that was sent. */
function networkReason(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return networkReason(error.errors[0]);
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (code !== undefined && Object.hasOwn(REASONS, code)) return REASONS[code] ?? code;
  if (error instanceof errors.HTTPParserError) return 'it does not answer in HTTP';
  return code ?? 'the connection failed';
}

const REASONS: Record<string, string> = {
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved',
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was reset',
  UND_ERR_SOCKET: 'the connection was closed before the end of the answer',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the connection was closed before the end of the answer',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_OVERFLOW: 'its answer has too large a head',
};
