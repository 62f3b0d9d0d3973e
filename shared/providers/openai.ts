import { Client, type Dispatcher, errors } from 'undici';
import { parseRetryAfter } from '../domain/retryAfter.ts';
import type { ModelAnswer, ModelCall, ModelProvider } from '../ports.ts';
import { type AbortListener, listenTo, unlisten } from './abortListeners.ts';
import { Connections, type Wanting } from './connections.ts';
import { Deadlines, type Waiting } from './deadlines.ts';

/** Beyond it the server is not there; the call's own timeout may be minutes. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Common servers close idle connections after 60 s and more (nginx 75 s, ALB 60 s): we close first. */
const KEEP_ALIVE_MS = 30_000;

export type OpenAiOptions = {
  /** Up to and with the version: `https://api.openai.com/v1`. */
  baseUrl: string;
  /**
   * Asked at every call, so that a rotated key is used; absent where the server wants none. `refused`: the key that the
   * server did not take, asked for once a call.
   */
  apiKey?: ((refused?: string) => Promise<string | undefined>) | undefined;
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
  const connect = () =>
    new Client(base.origin, {
      pipelining: 1,
      // Over HTTP/2 one connection would carry everything, and `maxSockets` would bound nothing.
      allowH2: false,
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // The call's own timer covers head and body, and a body that dribbles too.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  const server = { connections: new Connections(maxSockets, connect), deadlines: new Deadlines() };

  const post = (call: ModelCall, key: string | undefined, timeoutMs: number): Promise<ModelAnswer> =>
    exchange(server, `${base.pathname}${call.endpoint}${base.search}`, { call, key, timeoutMs, now });

  const postWithKey = async (call: ModelCall, keyOf: NonNullable<typeof apiKey>): Promise<ModelAnswer> => {
    call.signal?.throwIfAborted();
    const key = await keyOf();
    const endsAt = performance.now() + call.timeoutMs;
    const answer = await post(call, key, call.timeoutMs);
    if (answer.kind !== 'answered' || answer.status !== 401 || key === undefined) return answer;
    // A key that was rotated a moment ago is not refused to us: where there is another one, it decides.
    // All of it within the call's own time: a worker that is to stop waits for it.
    const renewing = keyOf(key).catch(() => key);
    const renewed = await settledWithin(renewing, call.signal, endsAt - performance.now());
    if (renewed === 'timeout') return { kind: 'timeout' };
    return renewed.value === key ? answer : await post(call, renewed.value, endsAt - performance.now());
  };

  return {
    call: (call) => (apiKey ? postWithKey(call, apiKey) : post(call, undefined, call.timeoutMs)),
    close: () => server.connections.destroy(),
  };
}

/** Rejects with the signal's reason; what the work comes to after its time is nobody's. */
async function settledWithin<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  ms: number,
): Promise<{ value: T } | 'timeout'> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<{ value: T } | 'timeout'>();
  const listener: AbortListener = { onAbort: reject, place: 0 };
  const timer = setTimeout(() => resolve('timeout'), ms);
  listenTo(signal, listener);
  work.then((value) => resolve({ value }), reject);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    unlisten(signal, listener);
  }
}

type Server = { connections: Connections; deadlines: Deadlines };
type Asked = { call: ModelCall; key: string | undefined; timeoutMs: number; now: () => number };

/** One request and its answer; rejects only with the reason of the caller's signal. */
function exchange(server: Server, path: string, asked: Asked): Promise<ModelAnswer> {
  const { call, key } = asked;
  return new Promise((resolve, reject) => {
    call.signal?.throwIfAborted();
    // Before anything is waited for: a body that cannot be written leaves no timer behind.
    const body = call.json ?? JSON.stringify(call.body);
    const request: Dispatcher.DispatchOptions = { method: 'POST', path, headers: requestHeaders(call, key), body };
    server.connections.take(new Exchange(server, request, asked, resolve, reject));
  });
}

/** The answer as undici tells of it, and the two ways in which we end the wait for it: time, and the caller's signal. */
class Exchange implements Dispatcher.DispatchHandler, AbortListener, Waiting, Wanting {
  readonly endsAt: number;
  placeInLine = 0;
  place = 0;
  readonly #server: Server;
  readonly #request: Dispatcher.DispatchOptions;
  /** Undefined before it has one, and once that was given back. */
  #client: Client | undefined;
  readonly #call: ModelCall;
  readonly #now: () => number;
  readonly #resolve: (answer: ModelAnswer) => void;
  readonly #reject: (reason: unknown) => void;
  #isOver = false;
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #bytes = 0;
  #retryAfterMs: number | undefined;
  readonly #chunks: Uint8Array[] = [];

  constructor(
    server: Server,
    request: Dispatcher.DispatchOptions,
    asked: Asked,
    resolve: (answer: ModelAnswer) => void,
    reject: (reason: unknown) => void,
  ) {
    this.endsAt = performance.now() + asked.timeoutMs;
    this.#server = server;
    this.#request = request;
    this.#call = asked.call;
    this.#now = asked.now;
    this.#resolve = resolve;
    this.#reject = reject;
    server.deadlines.add(this);
    listenTo(this.#call.signal, this);
  }

  onConnection(client: Client): boolean {
    if (this.#isOver) return false;
    this.#client = client;
    // Not `request`: its stream, its signal and its promises took as long as all the rest of a call.
    client.dispatch(this.#request, this);
    return true;
  }

  /** Ends the wait at once, also before there is a connection; what undici tells of it afterwards is expected. */
  giveUp(answer: ModelAnswer): void {
    if (this.#finish()) this.#controller?.abort(OVER);
    this.#resolve(answer);
  }

  onTimeout(): void {
    this.giveUp({ kind: 'timeout' });
  }

  onAbort(reason: unknown): void {
    if (this.#finish()) this.#controller?.abort(OVER);
    this.#reject(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(OVER);
  }

  onResponseStart(_: unknown, statusCode: number, headers: Headers): void {
    // 1xx: the answer is still to come.
    if (this.#isOver || statusCode < 200) return;
    this.#status = statusCode;
    if (Number(headers['content-length'] ?? 0) > this.#call.maxAnswerBytes) this.giveUp({ kind: 'too_large' });
    else this.#retryAfterMs = readRetryAfter(headers, this.#now);
  }

  onResponseData(_: unknown, chunk: Uint8Array): void {
    if (this.#isOver) return;
    this.#bytes += chunk.length;
    // This closes the connection: what is still to come may have no end.
    if (this.#bytes > this.#call.maxAnswerBytes) this.giveUp({ kind: 'too_large' });
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    const [first] = this.#chunks;
    // Before anything is over: were there no memory for it, undici would tell of that as an error.
    const body = this.#chunks.length === 1 && first ? first : Buffer.concat(this.#chunks, this.#bytes);
    this.#giveBack();
    if (!this.#finish()) return;
    const retry = this.#retryAfterMs === undefined ? {} : { retryAfterMs: this.#retryAfterMs };
    this.#resolve({ kind: 'answered', status: this.#status, body, ...retry });
  }

  onResponseError(_: unknown, error: Error): void {
    this.#giveBack();
    if (this.#finish()) this.#resolve({ kind: 'network', reason: networkReason(error) });
  }

  #giveBack(): void {
    const client = this.#client;
    this.#client = undefined;
    if (client) this.#server.connections.giveBack(client);
  }

  #finish(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#server.deadlines.remove(this);
    unlisten(this.#call.signal, this);
    return true;
  }
}

function requestHeaders(call: ModelCall, key: string | undefined): string[] {
  const headers = ['content-type', 'application/json', 'accept', 'application/json'];
  headers.push('idempotency-key', call.idempotencyKey);
  if (key !== undefined) headers.push('authorization', `Bearer ${key}`);
  return headers;
}

/** Told to undici where we end a call by ourselves; nobody else gets to see it. */
const OVER = new Error('The call is over');

type Headers = Record<string, string | string[] | undefined>;

/** `retry-after-ms` is what OpenAI and Azure send beside the header of RFC 9110, and finer. */
function readRetryAfter(headers: Headers, now: () => number): number | undefined {
  const first = (name: string) => {
    const value = headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const ms = first('retry-after-ms')?.trim();
  if (ms !== undefined && /^\d+(\.\d+)?$/.test(ms)) return Math.ceil(Number(ms));
  const date = first('retry-after');
  return date === undefined ? undefined : parseRetryAfter(date, now());
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
