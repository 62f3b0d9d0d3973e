import { answerAsJson, fromModelAnswer } from '../../domain/answerMapping.ts';
import type { Usage } from '../../domain/batch.ts';
import type { LineCall } from '../../domain/lineMapping.ts';
import type { AskedLine } from '../../domain/lines/requestLine.ts';
import type { ModelsFile } from '../../domain/models.ts';
import { causeOfStatus, type FailureCause, failureMessage } from '../../domain/retry/failureCauses.ts';
import type { ModelAnswer, ModelCall, Ports } from '../../ports.ts';

/** A line of the shard that wants a model. */
export type CalledLine = {
  line: number;
  request: AskedLine;
  call: Extract<LineCall, { kind: 'call' }>;
  idempotencyKey: string;
};

export type LineFailure = {
  cause: FailureCause;
  message: string;
  status?: number;
  /** The model's answer, JSON text. */
  response?: { statusCode: number; body: string };
  retryAfterMs?: number;
  usage?: Usage;
};

export type CallResult =
  | { kind: 'answered'; statusCode: number; body: string; usage: Usage | undefined }
  | { kind: 'failed'; failure: LineFailure }
  /** Stopped by us: the line has not had its try. */
  | { kind: 'called_off' };

/** The same for every try of a line, whichever worker makes it, so that a provider that honours it bills once. */
export function idempotencyKeyOf(batchId: string, line: number): string {
  return `${batchId}_${line}`;
}

/** One try of one line. Never throws for what a model or its server does. */
export function callLine(deps: CallDeps, line: CalledLine, options: CallOptions): Promise<CallResult> {
  const { provider } = line.call;
  const notCalled = (error: unknown): CallResult => {
    if (options.signal.aborted) return { kind: 'called_off' };
    // The provider itself failed: its key could not be read, or it has a fault. As good as not reached.
    deps.log.warn('model provider failed', { provider, error });
    return failed('network', { reason: 'the provider could not be called' });
  };
  try {
    // One promise, not three: most of a fast call's time here is what waits for what.
    return deps.providers
      .get(provider)
      .call(new Try(line, options))
      .then((answer) => resultOf(deps, line, answer), notCalled);
  } catch (error) {
    return Promise.resolve(notCalled(error));
  }
}

/** What its provider sees of a try. A body that goes on as it was written is parsed only for one that asks for it. */
class Try implements ModelCall {
  readonly endpoint: ModelCall['endpoint'];
  readonly json: ModelCall['json'];
  readonly idempotencyKey: string;
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
  readonly signal: AbortSignal;
  readonly #line: CalledLine;

  constructor(line: CalledLine, { timeoutMs, maxAnswerBytes, signal }: CallOptions) {
    this.endpoint = line.call.endpoint;
    this.json = line.call.json;
    this.idempotencyKey = line.idempotencyKey;
    this.timeoutMs = timeoutMs;
    this.maxAnswerBytes = maxAnswerBytes;
    this.signal = signal;
    this.#line = line;
  }

  get body(): Record<string, unknown> {
    return this.#line.call.body;
  }
}

type CallDeps = Pick<Ports, 'log'> & { providers: Ports['models']; models: ModelsFile };
export type CallOptions = { timeoutMs: number; maxAnswerBytes: number; signal: AbortSignal };

function resultOf(deps: CallDeps, line: CalledLine, answer: ModelAnswer): CallResult {
  switch (answer.kind) {
    case 'timeout':
      return failed('timeout', {});
    case 'network':
      return failed('network', { reason: answer.reason });
    case 'too_large':
      return failed('too_large', {});
    case 'answered':
      try {
        return readAnswer(deps.models, line, answer);
      } catch (error) {
        // Whatever is the matter with this answer must not take the worker's other lines along.
        deps.log.error('answer not read', { provider: line.call.provider, line: line.line, error });
        return failed('invalid_response', { reason: 'it could not be read' });
      }
  }
}

function readAnswer(
  models: ModelsFile,
  line: CalledLine,
  { status, body, retryAfterMs }: Extract<ModelAnswer, { kind: 'answered' }>,
): CallResult {
  const retry = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status < 200 || status >= 300) {
    const text = answerAsJson(body);
    const cause = causeOfStatus(status, JSON.parse(text)) ?? 'bad_request';
    return failed(cause, { status }, { status, response: { statusCode: status, body: text }, ...retry });
  }
  const mapped = fromModelAnswer(line.request, models, body);
  if (mapped.kind === 'ok') return { kind: 'answered', statusCode: status, body: mapped.body, usage: mapped.usage };
  const rest = {
    response: { statusCode: status, body: mapped.body },
    ...(mapped.usage ? { usage: mapped.usage } : {}),
    ...retry,
  };
  // A gateway that reports its upstream's fault with 200 is taken at its word where it may pass.
  const inner = mapped.status === undefined ? undefined : causeOfStatus(mapped.status);
  if (inner === 'rate_limited' || inner === 'overloaded' || inner === 'server_error')
    return failed(inner, { status: mapped.status }, rest);
  return { kind: 'failed', failure: { cause: 'invalid_response', message: mapped.message, ...rest } };
}

function failed(
  cause: FailureCause,
  detail: { status?: number | undefined; reason?: string },
  rest: Partial<LineFailure> = {},
): CallResult {
  const { status, reason } = detail;
  const message = failureMessage(cause, {
    ...(status === undefined ? {} : { status }),
    ...(reason === undefined ? {} : { reason }),
  });
  return { kind: 'failed', failure: { cause, message, ...rest } };
}
