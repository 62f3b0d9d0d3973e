export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Input and output of a state or an execution, UTF-8: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html */
export const MAX_PAYLOAD_BYTES = 256 * 1024;
/** https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html */
export const MAX_CAUSE_CHARACTERS = 32_768;

/**
 * A failure by its name in the States language. The interpreter reads `name`, `message` (the Cause), `isRetryable` and
 * `isCatchable` off whatever a task throws.
 */
export class StatesError extends Error {
  override readonly name: string;
  readonly isRetryable: boolean;
  readonly isCatchable: boolean;
  /** `terminal`: neither Retry nor Catch sees it, not even as `States.ALL`. */
  constructor(name: string, cause: string, options: { terminal?: boolean } = {}) {
    super(cause.slice(0, MAX_CAUSE_CHARACTERS));
    this.name = name;
    this.isRetryable = !options.terminal;
    this.isCatchable = !options.terminal;
  }
}

/** A path that leads nowhere, a value of the wrong type: https://states-language.net/spec.html#appendix-a */
export function runtimeError(cause: string): StatesError {
  return new StatesError('States.Runtime', cause, { terminal: true });
}

/** The execution was stopped or timed out from outside: nothing in it may go on, least of all a retry. */
export class ExecutionStopped extends StatesError {
  constructor() {
    super('States.Aborted', 'The execution was stopped.', { terminal: true });
  }
}

/** Throws `States.DataLimitExceeded` where `value` is over the service's limit; answers it as text. */
export function checkPayloadSize(value: Json, what: string): string {
  const text = JSON.stringify(value);
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_PAYLOAD_BYTES) {
    throw new StatesError(
      'States.DataLimitExceeded',
      `${what} has ${bytes} bytes, and at most ${MAX_PAYLOAD_BYTES} can pass between states.`,
      { terminal: true },
    );
  }
  return text;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
