import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { FromSandbox, SandboxData, ToSandbox } from './invocation.ts';

/** What a sandbox's code runs in. */
export type Carrier = {
  send(message: ToSandbox): void;
  terminate(): Promise<void>;
};

export type CarrierOptions = {
  data: SandboxData;
  environment: Record<string, string>;
  onMessage(message: FromSandbox): void;
  onOutput(chunk: Uint8Array): void;
  /** It is gone, or about to be: out of memory, an uncaught error, `process.exit`. May be told more than once. */
  onEnd(why: string): void;
};

const BOOTSTRAP = new URL('./bootstrap.mjs', import.meta.url);
/**
 * The heap as Lambda's own runtime gives it: a twentieth of the memory for a semi-space, nine tenths for the old
 * generation. V8 has three semi-spaces; more than 32 MB for each gains nothing.
 */
const semiSpaceMb = (memoryMb: number) => Math.max(1, Math.min(32, Math.floor(memoryMb / 20)));
const oldMb = (memoryMb: number) => Math.floor(memoryMb * 0.9);

/** Starts in 0.1 s less and takes 60 MB less than a process. What kills it (see `startProcess`) may kill all. */
export function startThread({ data, environment, onMessage, onOutput, onEnd }: CarrierOptions): Carrier {
  const worker = new Worker(BOOTSTRAP, {
    name: data.functionName,
    workerData: data,
    env: environment,
    // The parent's own flags (a test runner's, a debugger's) are not the function's.
    execArgv: [],
    stdout: true,
    stderr: true,
    resourceLimits: {
      maxOldGenerationSizeMb: oldMb(data.memoryMb),
      maxYoungGenerationSizeMb: 3 * semiSpaceMb(data.memoryMb),
    },
  });
  worker.stdout.on('data', onOutput);
  worker.stderr.on('data', onOutput);
  worker.on('message', onMessage);
  worker.on('error', (error) => onEnd(error instanceof Error ? error.message : String(error)));
  worker.on('exit', (code) => onEnd(`exit status ${code}`));
  return {
    send: (message) => worker.postMessage(message),
    terminate: async () => void (await worker.terminate()),
  };
}

/**
 * A process of its own, as on Lambda. A thread that runs out of memory is ended by V8 where its JavaScript allocates; in
 * the middle of a JSON.parse of ten megabytes V8 ends the whole process instead, with everybody else in it.
 */
export function startProcess({ data, environment, onMessage, onOutput, onEnd }: CarrierOptions): Carrier {
  const child = fork(fileURLToPath(BOOTSTRAP), [JSON.stringify(data)], {
    env: environment,
    execArgv: [`--max-old-space-size=${oldMb(data.memoryMb)}`, `--max-semi-space-size=${semiSpaceMb(data.memoryMb)}`],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const ended = new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
    // It could not be started: there will be no exit.
    child.on('error', () => resolve());
  });
  child.stdout?.on('data', onOutput);
  child.stderr?.on('data', onOutput);
  child.on('message', (message) => onMessage(message as FromSandbox));
  child.on('error', (error) => onEnd(error.message));
  child.on('exit', (code, signal) => onEnd(signal === null ? `exit status ${code}` : `signal: ${signal}`));
  return {
    // A process that is gone takes nothing, and its end is told above.
    send: (message) => void child.send(message, () => undefined),
    async terminate() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
