import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { FromSandbox, InvocationError, SandboxData, ToSandbox } from './invocation.ts';

/**
 * Runs inside a sandbox's thread: loads the bundle once, then answers one invocation at a time, as Lambda's Node
 * runtime does.
 */
const port = parentPort;
if (!port) throw new Error('bootstrap.ts runs in a worker thread');
// Handed over by sandbox.ts, which builds it as SandboxData.
const data = workerData as SandboxData;
const logStreamName = `local/[$LATEST]${randomUUID().replaceAll('-', '')}`;

type Handler = (event: unknown, context: unknown) => unknown;

const send = (message: FromSandbox) => port.postMessage(message);

function describe(thrown: unknown): InvocationError {
  if (thrown instanceof Error) {
    return {
      errorType: thrown.name || thrown.constructor.name || 'Error',
      errorMessage: thrown.message,
      trace: (thrown.stack ?? '').split('\n'),
    };
  }
  return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] };
}

async function loadHandler(): Promise<Handler> {
  const module = (await import(pathToFileURL(data.entryFile).href)) as Record<string, unknown>;
  const handler = module[data.handlerExport];
  if (typeof handler === 'function') return handler as Handler;
  const error = new Error(`${data.handlerExport} is undefined or not exported`);
  error.name = 'Runtime.HandlerNotFound';
  throw error;
}

function contextOf({ requestId, deadlineMs }: ToSandbox): Record<string, unknown> {
  return {
    awsRequestId: requestId,
    functionName: data.functionName,
    functionVersion: '$LATEST',
    invokedFunctionArn: data.functionArn,
    memoryLimitInMB: String(data.memoryMb),
    logGroupName: `/aws/lambda/${data.functionName}`,
    logStreamName,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, deadlineMs - Date.now()),
  };
}

async function invoke(handler: Handler, message: ToSandbox): Promise<void> {
  const { requestId } = message;
  try {
    const answer = await handler(JSON.parse(message.event), contextOf(message));
    send({ type: 'answer', requestId, payload: JSON.stringify(answer) ?? 'null' });
  } catch (thrown) {
    send({ type: 'failed', requestId, error: describe(thrown) });
  }
}

try {
  const handler = await loadHandler();
  port.on('message', (message: ToSandbox) => void invoke(handler, message));
  send({ type: 'ready' });
} catch (thrown) {
  send({ type: 'init_failed', error: describe(thrown) });
}
