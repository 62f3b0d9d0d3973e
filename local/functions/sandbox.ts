import { randomUUID } from 'node:crypto';
import { type Carrier, startProcess, startThread } from './carrier.ts';
import type { FromSandbox, InvocationError, InvocationResult, SandboxData, ToSandbox } from './invocation.ts';
import { exited, MAX_PAYLOAD_BYTES, responseTooLarge, timedOut } from './invocation.ts';
import type { LogFile } from './logFile.ts';

export type SandboxOptions = SandboxData & {
  environment: Record<string, string>;
  timeoutSeconds: number;
  /** A process instead of a thread. */
  ownProcess: boolean;
  log: LogFile;
};

/** Loading a bundle takes 0.2 s; this is for a machine that is very busy. Lambda itself gives 10 s. */
const INIT_TIMEOUT_MS = 60_000;

/**
 * One thread or process that holds a function's bundle and runs one invocation at a time. Once it has timed out, exited or failed
 * to load it is `dead` and never used again.
 */
export class Sandbox {
  dead = false;
  idleSince = Date.now();
  private readonly carrier: Carrier;
  private readonly options: SandboxOptions;
  private readonly ready: Promise<InvocationError | undefined>;
  private current: { requestId: string; end(result: InvocationResult): void } | undefined;
  private endOfInit: (failure: InvocationError | undefined) => void = () => undefined;

  constructor(options: SandboxOptions) {
    this.options = options;
    const { entryFile, handlerExport, functionName, functionArn, memoryMb } = options;
    this.ready = new Promise((resolve) => {
      this.endOfInit = resolve;
    });
    this.carrier = (options.ownProcess ? startProcess : startThread)({
      data: { entryFile, handlerExport, functionName, functionArn, memoryMb },
      environment: options.environment,
      onMessage: (message) => this.receive(message),
      onOutput: (chunk) => options.log.write(chunk),
      onEnd: (why) => this.die(why),
    });
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
      this.carrier.send(message);
    });
    this.idleSince = Date.now();
    return result;
  }

  async terminate(): Promise<void> {
    this.dead = true;
    await this.carrier.terminate();
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

  private die(why: string): void {
    if (!this.dead) this.options.log.write(`${new Date().toISOString()} ${this.options.functionName} exited: ${why}\n`);
    this.endOfInit(exited('unknown', why));
    this.current?.end({ error: exited(this.current.requestId, why) });
    if (!this.dead) void this.terminate();
  }
}
