// @ts-check
import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * @import { FromSandbox, InvocationError, SandboxData, ToSandbox } from './invocation.ts'
 * @typedef {(event: unknown, context: unknown) => unknown} Handler
 * @typedef {{ send(message: FromSandbox): void; listen(listener: (message: ToSandbox) => void): void }} Port
 */

/**
 * Runs inside a sandbox's thread or process: loads the bundle once, then answers one invocation at a time, as Lambda's
 * Node runtime does. Plain JavaScript, since to load what takes types away would cost each sandbox a fifth of its start.
 */
const port = parentPort ? threadPort(parentPort) : processPort();
// Handed over by carrier.ts, which builds it as SandboxData.
const data = /** @type {SandboxData} */ (parentPort ? workerData : JSON.parse(process.argv[2] ?? ''));
const logStreamName = `local/[$LATEST]${randomUUID().replaceAll('-', '')}`;

/** @param {NonNullable<typeof parentPort>} own @returns {Port} */
function threadPort(own) {
  return {
    send: (message) => own.postMessage(message),
    listen: (listener) => own.on('message', listener),
  };
}

/** @returns {Port} */
function processPort() {
  if (!process.send) throw new Error('bootstrap.mjs runs in a worker thread or a forked process');
  // Whoever runs the host ends it; a process without a host has nothing to do, however the host ended.
  process.on('disconnect', () => process.exit());
  // Ctrl+C in a terminal reaches this process as well: the host takes its time to end in order.
  process.on('SIGINT', () => undefined);
  return {
    send: (message) => void process.send?.(message),
    listen: (listener) => process.on('message', (message) => listener(/** @type {ToSandbox} */ (message))),
  };
}

/** @param {unknown} thrown @returns {InvocationError} */
function describe(thrown) {
  if (thrown instanceof Error) {
    return {
      errorType: thrown.name || thrown.constructor.name || 'Error',
      errorMessage: thrown.message,
      trace: (thrown.stack ?? '').split('\n'),
    };
  }
  return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] };
}

/** @returns {Promise<Handler>} */
async function loadHandler() {
  const module = /** @type {Record<string, unknown>} */ (await import(pathToFileURL(data.entryFile).href));
  const handler = module[data.handlerExport];
  if (typeof handler === 'function') return /** @type {Handler} */ (handler);
  const error = new Error(`${data.handlerExport} is undefined or not exported`);
  error.name = 'Runtime.HandlerNotFound';
  throw error;
}

/** @param {ToSandbox} message */
function contextOf({ requestId, deadlineMs }) {
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

/** @param {Handler} handler @param {ToSandbox} message */
async function invoke(handler, message) {
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
