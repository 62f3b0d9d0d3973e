/**
 * What of an error may be written down. A message is made from whatever was at hand where it was thrown: `JSON.parse`
 * quotes the text that it could not read, undici and Node name hosts and values, a provider's SDK its answer. So a message
 * is kept only where this code, or an AWS service, has put it together; of all others the name, the code and the place
 * must do. `errors.ts` says what clients are told, which is another matter.
 */
export type LoggedError = {
  name: string;
  message?: string;
  /** Of Node and undici: `ECONNRESET`. */
  code?: string;
  /** Of an AWS service: HTTP status, and the id by which its support finds the call. */
  status?: number;
  aws_request_id?: string;
  /** Where it was thrown, innermost first. */
  at?: string[];
  cause?: LoggedError;
};

/** Classes of this code whose messages hold ids, keys, counts and the deployer's own hosts. Those of the others are for clients, or quote them. */
export const OWN_MESSAGES: ReadonlySet<string> = new Set([
  'CommitUnknown',
  'DocumentUnreadable',
  'FileChanged',
  'FileMissing',
  'FinalizedTooEarly',
  'InvalidStepInput',
  'InvalidStepOutput',
  'IssuerUnreachable',
  'NoProgress',
  'ResultsInconsistent',
  'StepVersionUnknown',
  'StoredRecordInvalid',
]);

const MAX_MESSAGE_CHARACTERS = 500;
const MAX_FRAMES = 8;
const MAX_CAUSES = 3;
/** What a name or a code looks like; anything else in their place may be content. */
const WORD = /^[\w.]{1,64}$/;
const AWS_REQUEST_ID = /^[\w-]{1,64}$/;
/** `    at name (file:///var/task/index.mjs:1:2)`, or without a name. */
const FRAME = /^ {4}at (?:[\w.$<>#[\] ]{1,200} \()?(?:file|node|\/)[^\s?]{0,300}:\d+:\d+\)?$/;

type Thrown = Error & {
  code?: unknown;
  $fault?: unknown;
  $metadata?: { httpStatusCode?: unknown; requestId?: unknown };
};

export function loggedError(thrown: unknown, causes = MAX_CAUSES): LoggedError {
  if (!(thrown instanceof Error)) return { name: `thrown ${typeof thrown}` };
  const error: Thrown = thrown;
  const { code, cause, $metadata: { httpStatusCode, requestId } = {} } = error;
  const at = framesOf(error);
  return {
    name: WORD.test(error.name) ? error.name : 'Error',
    ...(mayTell(error) && error.message !== '' ? { message: error.message.slice(0, MAX_MESSAGE_CHARACTERS) } : {}),
    ...(typeof code === 'string' && WORD.test(code) ? { code } : {}),
    ...(typeof httpStatusCode === 'number' ? { status: httpStatusCode } : {}),
    ...(typeof requestId === 'string' && AWS_REQUEST_ID.test(requestId) ? { aws_request_id: requestId } : {}),
    ...(at.length > 0 ? { at } : {}),
    ...(cause !== undefined && causes > 0 ? { cause: loggedError(cause, causes - 1) } : {}),
  };
}

/** The same error for whoever prints it whole: the Lambda runtime, Step Functions' history. */
export function withoutContent(thrown: unknown): Error {
  const { name, message = 'Its message may hold content and is left out.', at = [] } = loggedError(thrown);
  const error = new Error(message);
  // An own property would be printed beside the message once more.
  Object.defineProperty(error, 'name', { value: name });
  error.stack = [`${name}: ${message}`, ...at.map((frame) => `    at ${frame}`)].join('\n');
  return error;
}

/** A service's exception (SDK: `$fault`), a class of our own, or a plain `new Error(…)`, which Node's own are not. */
function mayTell(error: Thrown): boolean {
  if (error.$fault !== undefined || OWN_MESSAGES.has(error.name)) return true;
  const isPlain = Object.getPrototypeOf(error) === Error.prototype && !Object.hasOwn(error, 'name');
  return isPlain && error.code === undefined;
}

/** The lines behind the message: a message of several lines must not pass for frames. */
function framesOf({ stack = '', message }: Error): string[] {
  const end = stack.indexOf(message) + message.length;
  const frames = message !== '' && end >= message.length ? stack.slice(end) : stack;
  return frames
    .split('\n')
    .filter((line) => FRAME.test(line))
    .slice(0, MAX_FRAMES)
    .map((line) => line.slice('    at '.length));
}
