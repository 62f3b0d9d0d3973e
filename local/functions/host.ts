import { devNull } from 'node:os';
import { join } from 'node:path';
import { type InvocationResult, MAX_PAYLOAD_BYTES, requestTooLarge } from './invocation.ts';
import { type LogFile, openLogFile } from './logFile.ts';
import { Sandbox } from './sandbox.ts';

export type HostedFunction = {
  arn: string;
  name: string;
  entryFile: string;
  handlerExport: string;
  environment: Record<string, string>;
  timeoutSeconds: number;
  memoryMb: number;
  reservedConcurrency?: number | undefined;
  /** Runs in processes instead of threads: what kills one then kills nothing else. */
  ownProcess?: boolean | undefined;
};

export type FunctionHostOptions = {
  functions: readonly HostedFunction[];
  /** What every function gets besides its own variables: region, credentials, the services' endpoints. */
  environment: Record<string, string>;
  logDir: string;
  /** Sandboxes of one function at a time; what comes beyond waits its turn. */
  maxConcurrency: number;
  /** An idle sandbox is given back after this long… */
  idleMs?: number;
  /** …and at once while there are more than these. Each holds 20 MB, or 80 with a process of its own. */
  maxIdle?: number;
};

export type FunctionHost = {
  /** Invokes synchronously. Never rejects: what goes wrong is in the result, as Lambda shapes it. */
  invoke(nameOrArn: string, event: unknown): Promise<InvocationResult>;
  close(): Promise<void>;
};

type Waiting = { event: string; resolve(result: InvocationResult): void };
type Pool = {
  hosted: HostedFunction;
  limit: number;
  log: LogFile;
  idle: Sandbox[];
  busy: Set<Sandbox>;
  waiting: Waiting[];
};

/** What Lambda tells every function, and what keeps the developer's own AWS settings out of it. */
function environmentOf(hosted: HostedFunction, common: Record<string, string>): Record<string, string> {
  return {
    AWS_LAMBDA_FUNCTION_NAME: hosted.name,
    // In the SDK's user agent, which takes 50 characters: so a service can tell by whom it is called.
    AWS_SDK_UA_APP_ID: hosted.name.slice(-50),
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(hosted.memoryMb),
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${hosted.name}`,
    AWS_CONFIG_FILE: devNull,
    AWS_SHARED_CREDENTIALS_FILE: devNull,
    AWS_EC2_METADATA_DISABLED: 'true',
    ...common,
    ...hosted.environment,
  };
}

/** The life of a batch takes twelve functions, the check and the client's questions among them: two of each stay warm. */
const MAX_IDLE = 24;

/** Hosts the template's functions in worker threads and processes. Nothing is started before it is invoked. */
export function startFunctions(options: FunctionHostOptions): FunctionHost {
  const { idleMs = 60_000, maxIdle = MAX_IDLE } = options;
  const pools = new Map<string, Pool>();
  for (const hosted of options.functions) {
    const pool: Pool = {
      hosted,
      limit: Math.max(1, Math.min(options.maxConcurrency, hosted.reservedConcurrency ?? Number.POSITIVE_INFINITY)),
      log: openLogFile(join(options.logDir, `${hosted.name}.log`)),
      idle: [],
      busy: new Set(),
      waiting: [],
    };
    pools.set(hosted.arn, pool);
    pools.set(hosted.name, pool);
  }
  const all = new Set(pools.values());
  let closed = false;

  const takeSandbox = (pool: Pool): Sandbox => {
    let sandbox = pool.idle.pop();
    while (sandbox?.dead) sandbox = pool.idle.pop();
    if (sandbox) return sandbox;
    const { hosted, log } = pool;
    return new Sandbox({
      entryFile: hosted.entryFile,
      handlerExport: hosted.handlerExport,
      functionName: hosted.name,
      functionArn: hosted.arn,
      memoryMb: hosted.memoryMb,
      timeoutSeconds: hosted.timeoutSeconds,
      ownProcess: hosted.ownProcess ?? false,
      environment: environmentOf(hosted, options.environment),
      log,
    });
  };

  const drain = (pool: Pool): void => {
    while (!closed && pool.busy.size < pool.limit) {
      const next = pool.waiting.shift();
      if (!next) return;
      const sandbox = takeSandbox(pool);
      pool.busy.add(sandbox);
      void sandbox.invoke(next.event).then((result) => {
        pool.busy.delete(sandbox);
        if (!sandbox.dead) pool.idle.push(sandbox);
        next.resolve(result);
        drain(pool);
        trim(maxIdle);
      });
    }
  };

  /**
   * Gives back what has been idle for long, and beyond `keep` first what has a younger one of its function beside it: the
   * last of a function costs its next invocation a start.
   */
  const trim = (keep: number, idleBefore = 0): void => {
    const idle = [...all]
      .flatMap((pool) => pool.idle.map((sandbox, at, { length }) => ({ pool, sandbox, isSpare: at < length - 1 })))
      .sort((a, b) => Number(a.isSpare) - Number(b.isSpare) || b.sandbox.idleSince - a.sandbox.idleSince);
    for (const [index, { pool, sandbox }] of idle.entries()) {
      if (index < keep && sandbox.idleSince >= idleBefore && !sandbox.dead) continue;
      pool.idle.splice(pool.idle.indexOf(sandbox), 1);
      void sandbox.terminate();
    }
  };
  const sweep = setInterval(() => trim(maxIdle, Date.now() - idleMs), Math.min(idleMs, 10_000));
  sweep.unref();

  return {
    async invoke(nameOrArn, event) {
      const pool = pools.get(nameOrArn);
      if (!pool) {
        const errorMessage = `Function not found: ${nameOrArn}`;
        return { error: { errorType: 'Lambda.ResourceNotFoundException', errorMessage } };
      }
      if (closed) {
        return { error: { errorType: 'Lambda.ServiceException', errorMessage: 'The local run is stopping' } };
      }
      const text = JSON.stringify(event) ?? 'null';
      const bytes = Buffer.byteLength(text);
      if (bytes > MAX_PAYLOAD_BYTES) return { error: requestTooLarge(bytes) };
      return new Promise((resolve) => {
        pool.waiting.push({ event: text, resolve });
        drain(pool);
      });
    },
    async close() {
      closed = true;
      clearInterval(sweep);
      await Promise.all(
        [...all].flatMap((pool) => {
          for (const { resolve } of pool.waiting.splice(0)) {
            resolve({ error: { errorType: 'Lambda.ServiceException', errorMessage: 'The local run is stopping' } });
          }
          return [...pool.idle.splice(0), ...pool.busy].map((sandbox) => sandbox.terminate());
        }),
      );
    },
  };
}
