import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { FromSandbox, InvocationError, SandboxData, ToSandbox } from './invocation.ts';

/**
 * Runs inside a sandbox's thread or process: loads the bundle once, then answers one invocation at a time, as Lambda's Node
 * runtime does.
 */
const port = parentPort ? threadPort(parentPort) : processPort();
// Handed over by carrier.ts, which builds it as SandboxData.
const data = (parentPort ? workerData : JSON.parse(process.argv[2] ?? '')) as SandboxData;
const logStreamName = `local/[$LATEST]${randomUUID().replaceAll('-', '')}`;

type Handler = (event: unknown, context: unknown) => unknown;

type Port = { send(message: FromSandbox): void; listen(listener: (message: ToSandbox) => void): void };

function threadPort(own: NonNullable<typeof parentPort>): Port {
  return {
    send: (message) => own.postMessage(message),
    listen: (listener) => own.on('message', listener),
  };
}

function processPort(): Port {
  if (!process.send) throw new Error('bootstrap.ts runs in a worker thread or a forked process');
  // Whoever runs the host ends it; a process without a host has nothing to do, however the host ended.
  process.on('disconnect', () => process.exit());
  // Ctrl+C in a terminal reaches this process as well: the host takes its time to end in order.
  process.on('SIGINT', () => undefined);
  return {
    send: (message) => void process.send?.(message),
    listen: (listener) => process.on('message', (message) => listener(message as ToSandbox)),
  };
}

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
    port.send({ type: 'answer', requestId, payload: JSON.stringify(answer) ?? 'null' });
  } catch (thrown) {
    port.send({ type: 'failed', requestId, error: describe(thrown) });
  }
}

try {
  const handler = await loadHandler();
  port.listen((message) => void invoke(handler, message));
  port.send({ type: 'ready' });
} catch (thrown) {
  port.send({ type: 'init_failed', error: describe(thrown) });
}
