import type { FunctionName } from '../../shared/contract/functions.ts';
import { type Json, StatesError } from './machine.ts';

/** One invocation of one function. A dead process's calls never come back, and its caller is told at once. */
export class Process {
  readonly functionName: FunctionName;
  /** What it was invoked with, where it is a step. */
  readonly payload: Json;
  readonly died = Promise.withResolvers<never>();
  /** How far its machine's clock is ahead of the true time. */
  skewMs = 0;
  #dead = false;

  constructor(functionName: FunctionName, payload: Json = {}) {
    this.functionName = functionName;
    this.payload = payload;
    this.died.promise.catch(() => undefined);
  }

  get dead(): boolean {
    return this.#dead;
  }

  kill(): void {
    this.#dead = true;
    this.died.reject(new StatesError('Lambda.Unknown', `${this.functionName} was killed`));
  }
}

/** One call of a port by a process; `proceed` makes it. What an interceptor answers or throws is what the process sees. */
export type PortCall = { process: Process; port: string; method: string; args: unknown[] };
export type Interceptor = (call: PortCall, proceed: () => unknown) => unknown;

const NEVER = new Promise<never>(() => undefined);

/** Puts the interceptor before every call, and lets nothing come back to a process that has died. */
export function intercepted<T extends object>(process: Process, port: string, target: T, intercept: Interceptor): T {
  return new Proxy(target, {
    get(object, name, receiver) {
      const member: unknown = Reflect.get(object, name, receiver);
      if (typeof member !== 'function' || typeof name !== 'string') return member;
      return (...args: unknown[]) => {
        if (port === 'clock' && name === 'now') return Reflect.apply(member, object, args);
        if (process.dead) return NEVER;
        const answer = intercept({ process, port, method: name, args }, () => Reflect.apply(member, object, args));
        if (!(answer instanceof Promise)) return answer;
        return answer.then(
          (value) => (process.dead ? NEVER : wrapped(process, port, value, intercept)),
          (error: unknown) => {
            if (process.dead) return NEVER;
            throw error;
          },
        );
      };
    },
  });
}

/** An upload is made of calls, too. */
function wrapped(process: Process, port: string, value: unknown, intercept: Interceptor): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  const isUpload = typeof (value as { write?: unknown }).write === 'function';
  return isUpload ? intercepted(process, `${port}.upload`, value, intercept) : value;
}
