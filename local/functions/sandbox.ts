import { randomUUID } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { FromSandbox, InvocationError, InvocationResult, SandboxData, ToSandbox } from './invocation.ts';
import { exited, MAX_PAYLOAD_BYTES, responseTooLarge, timedOut } from './invocation.ts';
import type { LogFile } from './logFile.ts';

export type SandboxOptions = SandboxData & {
  environment: Record<string, string>;
  timeoutSeconds: number;
  log: LogFile;
};

/** Loading a bundle takes 0.2 s; this is for a machine that is very busy. Lambda itself gives 10 s. */
const INIT_TIMEOUT_MS = 60_000;

/**
 * One thread that holds a function's bundle and runs one invocation at a time. Once it has timed out, exited or failed
 * to load it is `dead` and never used again.
 */
export class Sandbox {
  dead = false;
  idleSince = Date.now();
  private readonly worker: Worker;
  private readonly options: SandboxOptions;
  private readonly ready: Promise<InvocationError | undefined>;
  private current: { requestId: string; end(result: InvocationResult): void } | undefined;
  private endOfInit: (failure: InvocationError | undefined) => void = () => undefined;

  constructor(options: SandboxOptions) {
    this.options = options;
    const { entryFile, handlerExport, functionName, functionArn, memoryMb } = options;
    this.worker = new Worker(new URL('./bootstrap.ts', import.meta.url), {
      name: functionName,
      workerData: { entryFile, handlerExport, functionName, functionArn, memoryMb } satisfies SandboxData,
      env: options.environment,
      // The parent's own flags (a test runner's, a debugger's) are not the function's.
      execArgv: [],
      stdout: true,
      stderr: true,
      // A function's memory is more than its heap, but a heap that passes it would have been killed.
      resourceLimits: { maxOldGenerationSizeMb: memoryMb, maxYoungGenerationSizeMb: Math.min(32, memoryMb / 8) },
    });
    this.ready = new Promise((resolve) => {
      this.endOfInit = resolve;
    });
    this.worker.stdout.on('data', (chunk: Uint8Array) => options.log.write(chunk));
    this.worker.stderr.on('data', (chunk: Uint8Array) => options.log.write(chunk));
    this.worker.on('message', (message: FromSandbox) => this.receive(message));
    this.worker.on('error', (error) => this.die(error instanceof Error ? error.message : String(error)));
    this.worker.on('exit', (code) => this.die(`exit status ${code}`));
  }

  async invoke(event: string): Promise<InvocationResult> {
    const requestId = randomUUID();
    const initTimer = setTimeout(() => this.die('the bundle did not load in time'), INIT_TIMEOUT_MS);
    const initFailure = await this.ready;
    clearTimeout(initTimer);
    if (initFailure) return { error: initFailure };
    if (this.dead) return { error: exited(requestId, 'the sandbox is gone') };

    const { timeoutSeconds } = this.options;
    const result = await new Promise<InvocationResult>((resolve) => {
      const timer = setTimeout(() => {
        this.options.log.write(`${new Date().toISOString()} ${requestId} timed out after ${timeoutSeconds} s\n`);
        end({ error: timedOut(requestId, timeoutSeconds) });
        void this.terminate();
      }, timeoutSeconds * 1000);
      const end = (outcome: InvocationResult) => {
        clearTimeout(timer);
        this.current = undefined;
        resolve(outcome);
      };
      this.current = { requestId, end };
      const message: ToSandbox = { requestId, event, deadlineMs: Date.now() + timeoutSeconds * 1000 };
      this.worker.postMessage(message);
    });
    this.idleSince = Date.now();
    return result;
  }

  async terminate(): Promise<void> {
    this.dead = true;
    await this.worker.terminate();
  }

  private receive(message: FromSandbox): void {
    if (message.type === 'ready') this.endOfInit(undefined);
    else if (message.type === 'init_failed') {
      this.options.log.write(`${new Date().toISOString()} did not start: ${JSON.stringify(message.error)}\n`);
      this.endOfInit(message.error);
      void this.terminate();
    } else if (message.requestId !== this.current?.requestId) return;
    else if (message.type === 'failed') {
      this.options.log.write(`${new Date().toISOString()} ${message.requestId} ${JSON.stringify(message.error)}\n`);
      this.current.end({ error: message.error });
    } else {
      const bytes = Buffer.byteLength(message.payload);
      this.current.end(
        bytes > MAX_PAYLOAD_BYTES ? { error: responseTooLarge(bytes) } : { payload: JSON.parse(message.payload) },
      );
    }
  }

  /** The thread is gone, or about to be: out of memory, an uncaught error, `process.exit`. */
  private die(why: string): void {
    if (!this.dead) this.options.log.write(`${new Date().toISOString()} ${this.options.functionName} exited: ${why}\n`);
    this.endOfInit(exited('unknown', why));
    this.current?.end({ error: exited(this.current.requestId, why) });
    if (!this.dead) void this.terminate();
  }
}
