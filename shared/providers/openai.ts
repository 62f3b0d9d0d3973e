import { errors, Pool } from 'undici';
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

  return {
    async call(call) {
      call.signal?.throwIfAborted();
      const key = await apiKey();
      const abort = new AbortController();
      const onCallerAbort = () => abort.abort(call.signal?.reason);
      call.signal?.addEventListener('abort', onCallerAbort, { once: true });
      const callWithKey = async (key: string | undefined): Promise<ModelAnswer> => {
        const answer = await post(pool, base, call, key, abort.signal, now);
        if (answer.kind !== 'answered' || answer.status !== 401 || key === undefined) return answer;
        // A key that was rotated a moment ago is not refused to us: where there is another one, it decides.
        const renewed = await apiKey(key).catch(() => key);
        return renewed === key ? answer : await post(pool, base, call, renewed, abort.signal, now);
      };
      const timer = setTimeout(() => abort.abort(new CallTimedOut()), call.timeoutMs);
      try {
        // undici looks at the signal once it has a connection; the race also ends a slow lookup or handshake in time.
        return await Promise.race([callWithKey(key), whenAborted(abort.signal)]);
      } catch (error) {
        if (call.signal?.aborted) throw call.signal.reason;
        if (abort.signal.reason instanceof CallTimedOut) return { kind: 'timeout' };
        return { kind: 'network', reason: networkReason(error) };
      } finally {
        clearTimeout(timer);
        call.signal?.removeEventListener('abort', onCallerAbort);
      }
    },
    close: () => pool.destroy(),
  };
}

async function post(
  pool: Pool,
  base: URL,
  call: ModelCall,
  key: string | undefined,
  signal: AbortSignal,
  now: () => number,
): Promise<ModelAnswer> {
  const answer = await pool.request({
    method: 'POST',
    path: `${base.pathname}${call.endpoint}${base.search}`,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      'idempotency-key': call.idempotencyKey,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    body: call.json ?? JSON.stringify(call.body),
    signal,
  });
  const announced = Number(answer.headers['content-length'] ?? 0);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  if (announced <= call.maxAnswerBytes) {
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > call.maxAnswerBytes) break;
      chunks.push(chunk);
    }
  }
  if (bytes > call.maxAnswerBytes || announced > call.maxAnswerBytes) {
    // Closes the connection: what is still to come may have no end.
    answer.body.on('error', ignoreOwnAbort).destroy();
    return { kind: 'too_large' };
  }
  const retryAfterMs = readRetryAfter(answer.headers, now());
  return {
    kind: 'answered',
    status: answer.statusCode,
    body: chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, bytes),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** The body was destroyed by us; its error event says just that. */
function ignoreOwnAbort(): void {}

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

class CallTimedOut extends Error {
  override readonly name = 'CallTimedOut';
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
