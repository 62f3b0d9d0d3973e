/** What a function's invocation ends with, shaped as Lambda shapes it. */
export type InvocationError = { errorType: string; errorMessage: string; trace?: string[] };
export type InvocationResult = { payload: unknown } | { error: InvocationError };

/** Request and answer of a synchronous invocation: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html */
export const MAX_PAYLOAD_BYTES = 6 * 1024 * 1024;

export const REQUEST_TOO_LARGE = 'Lambda.RequestTooLargeException';

export function requestTooLarge(bytes: number): InvocationError {
  return {
    errorType: REQUEST_TOO_LARGE,
    errorMessage: `${bytes} byte payload is too large for the RequestResponse invocation type (limit ${MAX_PAYLOAD_BYTES} bytes)`,
  };
}

export function responseTooLarge(bytes: number): InvocationError {
  return {
    errorType: 'Function.ResponseSizeTooLarge',
    errorMessage: `Response payload size (${bytes} bytes) exceeded maximum allowed payload size (${MAX_PAYLOAD_BYTES} bytes).`,
  };
}

export function timedOut(requestId: string, timeoutSeconds: number): InvocationError {
  return {
    errorType: 'Sandbox.Timedout',
    errorMessage: `RequestId: ${requestId} Error: Task timed out after ${timeoutSeconds.toFixed(2)} seconds`,
  };
}

export function exited(requestId: string, why: string): InvocationError {
  return {
    errorType: 'Runtime.ExitError',
    errorMessage: `RequestId: ${requestId} Error: Runtime exited with error: ${why}`,
  };
}

/** What the two threads say to each other. Events and answers cross as JSON text, as they do on AWS. */
export type ToSandbox = { requestId: string; event: string; deadlineMs: number };
export type FromSandbox =
  | { type: 'ready' }
  | { type: 'init_failed'; error: InvocationError }
  | { type: 'answer'; requestId: string; payload: string }
  | { type: 'failed'; requestId: string; error: InvocationError };

/** What a sandbox is told about its function when it starts. */
export type SandboxData = {
  entryFile: string;
  handlerExport: string;
  functionName: string;
  functionArn: string;
  memoryMb: number;
};
