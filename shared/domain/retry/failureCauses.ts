import type { LineErrorCode } from '../errors.ts';

/**
 * Why a model call gave no usable answer, and what follows from it: the one table that the worker's retries, the
 * errors file and the metrics are made from.
 */
type FailurePolicy = {
  /** The same call may succeed later. */
  retryable: boolean;
  /** Uses up one of the line's attempts. A refusal for rate alone never does: the line had no chance. */
  countsAsAttempt: boolean;
  /** Attempts this cause may use up, where that is fewer than the stage's `maxAttempts`. */
  maxAttempts?: number;
  /** The server says that it has too much to do: the in-flight window is halved. */
  overload: boolean;
  /**
   * What it says of the model as a whole. `down`: it may be down; then it is not the line's fault, and no attempt of it.
   * `up`: the model's server looked at the call.
   */
  model: 'up' | 'down' | 'unknown';
  /** What the line ends with when this was its last failure. */
  lineErrorCode: LineErrorCode;
  /** Label under which such calls are counted. */
  metric: string;
};

export const FAILURE_CAUSES = {
  /** 429. How many calls are in flight is not what is refused, but their rate. */
  rate_limited: policy('rate_limited', 'rate_limited', { retryable: true, countsAsAttempt: false }),
  /** 503, and 529 as Anthropic and others answer it. */
  overloaded: policy('model_unavailable', 'overloaded', { retryable: true, overload: true, model: 'down' }),
  /** Every other 5xx. */
  server_error: policy('model_unavailable', 'server_error', { retryable: true, model: 'down' }),
  /** 408: the server gave up waiting for us. */
  request_timeout: policy('model_timeout', 'request_timeout', { retryable: true, model: 'down' }),
  /** 409 and 425: the server asks for the same request again, later. */
  try_again: policy('model_unavailable', 'try_again', { retryable: true }),
  /** Refused, reset, unresolvable: no HTTP answer came, or it broke off. */
  network: policy('model_unavailable', 'network', { retryable: true, model: 'down' }),
  /** Our own patience (`callTimeoutSeconds`) ended. */
  timeout: policy('model_timeout', 'timeout', { retryable: true, model: 'down' }),
  /** 2xx whose body is no JSON, holds an error, or lacks what the endpoint answers. May be a hiccup of a proxy. */
  invalid_response: policy('invalid_response', 'invalid_response', {
    retryable: true,
    maxAttempts: 3,
    model: 'unknown',
  }),
  /** Other 4xx: the line itself is refused. */
  bad_request: policy('model_error', 'bad_request'),
  /** 3xx: never followed, since it could lead anywhere with the key in hand. */
  redirected: policy('model_error', 'redirected'),
  /** 401: the credentials are refused, whatever the line says. */
  unauthorized: policy('model_unauthorized', 'unauthorized'),
  /** 403: these credentials may not do this. */
  forbidden: policy('model_unauthorized', 'forbidden'),
  /** 404 that names the model. */
  model_missing: policy('model_not_found', 'model_missing'),
  /** The answer is over `answerBytes`; it would be so again. */
  too_large: policy('response_too_large', 'too_large'),
} as const satisfies Record<string, FailurePolicy>;

export type FailureCause = keyof typeof FAILURE_CAUSES;

function policy(lineErrorCode: LineErrorCode, metric: string, rest: Partial<FailurePolicy> = {}): FailurePolicy {
  return { retryable: false, countsAsAttempt: true, overload: false, model: 'up', ...rest, lineErrorCode, metric };
}

/** The cause that an HTTP status stands for; undefined for 2xx. `body` is the parsed answer, where it is JSON. */
export function causeOfStatus(status: number, body?: unknown): FailureCause | undefined {
  if (status >= 200 && status < 300) return undefined;
  if (status >= 500) return status === 503 || status === 529 ? 'overloaded' : 'server_error';
  if (status >= 400) {
    if (status === 404) return namesMissingModel(body) ? 'model_missing' : 'bad_request';
    return BY_STATUS[status] ?? 'bad_request';
  }
  return 'redirected';
}

const BY_STATUS: Partial<Record<number, FailureCause>> = {
  401: 'unauthorized',
  403: 'forbidden',
  408: 'request_timeout',
  409: 'try_again',
  425: 'try_again',
  429: 'rate_limited',
};

/**
 * OpenAI says `code: "model_not_found"`; vLLM "The model `x` does not exist."; Ollama "model 'x' not found, try pulling
 * it first". A 404 of a wrong path says none of these.
 */
function namesMissingModel(body: unknown): boolean {
  const error = isObject(body) && 'error' in body ? body.error : body;
  if (typeof error === 'string') return MISSING_MODEL.test(error);
  if (!isObject(error)) return false;
  if (error.code === 'model_not_found' || error.type === 'model_not_found') return true;
  return typeof error.message === 'string' && MISSING_MODEL.test(error.message);
}

const MISSING_MODEL = /\bmodel\b.{0,300}\b(not found|does not exist|not exist|unknown)\b/is;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the errors file says. Never holds what the server said: that is in the line's `response`. */
export function failureMessage(cause: FailureCause, detail: { status?: number; reason?: string } = {}): string {
  const status = detail.status === undefined ? '' : ` (HTTP ${detail.status})`;
  switch (cause) {
    case 'rate_limited':
      return `The model refused the call for its rate${status} until the batch's window ended.`;
    case 'overloaded':
      return `The model's server is overloaded${status}.`;
    case 'server_error':
      return `The model's server failed${status}.`;
    case 'request_timeout':
      return `The model's server timed out${status}.`;
    case 'try_again':
      return `The model's server asked to try again later${status}, each time.`;
    case 'network':
      return `The model's server could not be reached${detail.reason ? `: ${detail.reason}` : ''}.`;
    case 'timeout':
      return 'The model did not answer in time.';
    case 'invalid_response':
      return `The model's answer cannot be used${detail.reason ? `: ${detail.reason}` : ''}.`;
    case 'bad_request':
      return `The model refused the request${status}.`;
    case 'redirected':
      return `The model's server answered with a redirect${status}, which is not followed.`;
    case 'unauthorized':
      return `The model's server refused the credentials${status}.`;
    case 'forbidden':
      return `The model's server does not allow this${status}.`;
    case 'model_missing':
      return `The model's server does not have the model${status}.`;
    case 'too_large':
      return "The model's answer is larger than this deployment allows.";
  }
}
