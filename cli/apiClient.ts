import { setTimeout as pause } from 'node:timers/promises';
import { request } from 'undici';
import * as z from 'zod';
import { type Api, apiOf } from '../shared/contract/api.ts';
import { IDEMPOTENCY_HEADER } from '../shared/contract/batchRequests.ts';
import { ErrorView } from '../shared/contract/errorView.ts';
import { type Route, type RouteName, routes } from '../shared/contract/routes.ts';
import { SettingsSchema } from '../shared/contract/settings.ts';
import { UsageError } from './exitCodes.ts';

/** A stage's settings bound requests, which the API checks; its answers are the same everywhere. */
const api = apiOf(SettingsSchema.parse({}));

type Answers<R extends RouteName> = Api[R]['answers'];
type AnswerBody<R extends RouteName> = {
  [Status in keyof Answers<R>]: Answers<R>[Status] extends z.ZodType ? z.output<Answers<R>[Status]> : never;
}[keyof Answers<R>];

export type ApiRequest<R extends RouteName> = {
  params?: z.input<Api[R]['params']>;
  query?: z.input<Api[R]['query']>;
  body?: Api[R]['body'] extends z.ZodType ? z.input<Api[R]['body']> : never;
  /** Makes a repeat after a lost answer find what the first try made. */
  idempotencyKey?: string;
};
export type ApiAnswer<R extends RouteName> = { status: number; body: AnswerBody<R>; retryAfterSeconds: number };

/** The API refused, in its own words. */
export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal';
  readonly status: number;
  constructor(status: number, message: string, cause?: unknown) {
    super(message, { cause });
    this.status = status;
  }
}

/** No answer came, or none that is worth waiting for now. */
export class ApiUnreachable extends Error {
  override readonly name = 'ApiUnreachable';
}

export type ApiClient = ReturnType<typeof createApiClient>;

const TRIES = 5;
// HTTP API answers within 30 s (its integration limit), so what takes longer is lost.
const ANSWER_TIMEOUT_MS = 40_000;
// Who is told to wait for longer is better told so than left waiting.
const MAX_PAUSE_SECONDS = 30;
/** A repeat would make a second one, which nobody knows of. */
const MADE_ONCE: readonly RouteName[] = ['createKey', 'rotateWebhookSecret'];

type Credentials = { url: string; key?: string | undefined; operatorKey?: string | undefined };

/**
 * A client of one stage, made from the table of routes: `url` its root, `key` an API key or token of the project,
 * `operatorKey` the operator's. A request is repeated where the API cannot be reached or is busy.
 */
export function createApiClient({ url, key, operatorKey }: Credentials) {
  const root = url.replace(/\/*$/, '/');

  function authorization({ caller }: Route): Record<string, string> {
    if (caller === 'anyone') return {};
    if (caller === 'operator') {
      if (operatorKey === undefined)
        throw new UsageError(
          "This is the operator's: give --operator-key KEY, or BATCH_API_OPERATOR_KEY in the environment.",
        );
      return { 'users-management-key': operatorKey };
    }
    if (key === undefined)
      throw new UsageError('This needs a key of the project: give --key KEY, or BATCH_API_KEY in the environment.');
    return { authorization: `Bearer ${key}` };
  }

  return {
    url,
    /** Throws `ApiRefusal` for an answer that is an error, `ApiUnreachable` where there is none. */
    async call<R extends RouteName>(name: R, asked: ApiRequest<R> = {}): Promise<ApiAnswer<R>> {
      const route: Route = routes[name];
      const target = new URL(pathOf(route, asked.params).slice(1), root);
      for (const [field, value] of Object.entries(asked.query ?? {}))
        if (value !== undefined) target.searchParams.set(field, String(value));
      const { method } = route;
      const body = asked.body === undefined ? undefined : JSON.stringify(asked.body);
      const headers = {
        ...authorization(route),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(asked.idempotencyKey === undefined ? {} : { [IDEMPOTENCY_HEADER]: asked.idempotencyKey }),
      };
      const tries = MADE_ONCE.includes(name) ? 1 : TRIES;
      const { status, text, retryAfterSeconds } = await exchange(target, { method, headers, body }, tries);
      if (status >= 300) throw refusal(status, text);
      return { status, retryAfterSeconds, body: read(name, status, text) };
    },
  };
}

function pathOf({ path }: Route, params: unknown): string {
  const values = (params ?? {}) as Record<string, string>;
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
}

type Sent = { method: Route['method']; headers: Record<string, string>; body: string | undefined };
type Got = { status: number; text: string; retryAfterSeconds: number };

async function exchange(target: URL, { method, headers, body }: Sent, tries: number): Promise<Got> {
  for (let attempt = 1; ; attempt++) {
    const last = attempt >= tries;
    let pauseMs = 200 * 2 ** attempt;
    try {
      const answer = await request(target, {
        method,
        headers,
        body: body ?? null,
        headersTimeout: ANSWER_TIMEOUT_MS,
        bodyTimeout: ANSWER_TIMEOUT_MS,
      });
      const status = answer.statusCode;
      const retryAfterSeconds = Number(answer.headers['retry-after'] ?? 0) || 0;
      const text = await answer.body.text();
      if (last || (status !== 429 && status < 500)) return { status, text, retryAfterSeconds };
      pauseMs = Math.max(pauseMs, Math.min(retryAfterSeconds, MAX_PAUSE_SECONDS) * 1000);
    } catch (cause) {
      if (last) throw new ApiUnreachable(`${target.origin} cannot be reached: ${reasonOf(cause)}`, { cause });
    }
    await pause(pauseMs);
  }
}

/** Errors of sockets often have no message of their own, only a code. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error.message || ('code' in error ? String(error.code) : error.name);
}

function read<R extends RouteName>(name: R, status: number, text: string): AnswerBody<R> {
  const answers: Partial<Record<number, z.ZodType>> = api[name].answers;
  const schema = answers[status];
  try {
    if (!schema) throw new ApiRefusal(status, `The API answered ${status}, which this client does not know here.`);
    const value: unknown = JSON.parse(text);
    schema.parse(value);
    // As it came, so that --json shows what a later API adds; the schemas of answers change nothing.
    return value as AnswerBody<R>;
  } catch (cause) {
    if (!(cause instanceof z.ZodError || cause instanceof SyntaxError)) throw cause;
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause.message;
    throw new ApiRefusal(status, `This is not the answer of a batch API (${name}): ${why}`, cause);
  }
}

function refusal(status: number, text: string): ApiRefusal {
  try {
    const { message, details = [] } = ErrorView.parse(JSON.parse(text));
    const lines = details.map((detail) => `  ${detail.param}: ${detail.message}`);
    return new ApiRefusal(status, [message, ...lines].join('\n'));
  } catch (cause) {
    // The gateway's own refusals have another shape.
    if (cause instanceof z.ZodError || cause instanceof SyntaxError)
      return new ApiRefusal(status, `The API answered ${status}: ${text.slice(0, 200)}`, cause);
    throw cause;
  }
}
