import { setTimeout as sleep } from 'node:timers/promises';
import type { RunInfo } from '../../shared/contract/runInfo.ts';
import { type LocalProcess, startLocalProcess } from '../support/localProcess.ts';
import { Violation } from './violation.ts';

/** The local system as its operator has it: started, stopped, killed; and when it was down. */
export class System {
  readonly #dataDir: string;
  readonly #modelsFile: string;
  #process: LocalProcess | undefined;
  #up = Promise.withResolvers<RunInfo>();
  #info: RunInfo | undefined;
  #secret = '';
  #downSince: number | undefined = Date.now();
  readonly #downs: { from: number; to: number }[] = [];
  readonly counts = { starts: 0, stops: 0, kills: 0, workerKills: 0 };

  constructor(dataDir: string, modelsFile: string) {
    this.#dataDir = dataDir;
    this.#modelsFile = modelsFile;
  }

  /** Where it is, while it is up and is meant to be. */
  get info(): RunInfo | undefined {
    return this.#info;
  }

  /** What the project's notifications are signed with. */
  get secret(): string {
    return this.#secret;
  }

  /** Resolves once it is up. */
  get up(): Promise<RunInfo> {
    return this.#up.promise;
  }

  /** `killAt`: kills it once it has said that while it starts, and starts it again. */
  async start(functions: 'whole' | 'handing_over', killAt?: string): Promise<void> {
    const args = [this.#dataDir, this.#modelsFile, functions];
    if (killAt !== undefined) {
      const doomed = startLocalProcess('test/soak/systemProcess.ts', args);
      await Promise.race([doomed.saw(killAt), doomed.ready]);
      await doomed.kill();
      this.counts.kills++;
    }
    this.#process = startLocalProcess('test/soak/systemProcess.ts', args);
    this.#info = await this.#process.ready;
    this.#secret = this.#info.webhook_secret;
    this.counts.starts++;
    this.#downs.push({ from: this.#downSince ?? Date.now(), to: Date.now() });
    this.#downSince = undefined;
    this.#up.resolve(this.#info);
  }

  /** Ends it. While `signal` is on its way, answers that are none are no fault. */
  async end(how: 'stop' | 'kill'): Promise<void> {
    this.#info = undefined;
    this.#downSince = Date.now();
    this.#up = Promise.withResolvers();
    if (how === 'kill') {
      this.counts.kills++;
      await this.#process?.kill();
      return;
    }
    this.counts.stops++;
    const code = await this.#process?.stop();
    if (code !== 0)
      throw new Violation(undefined, `A SIGTERM ended the local run with ${code}: ${this.#process?.said()}`);
  }

  /** One of its workers, where it has any. */
  async killWorker(): Promise<void> {
    if (this.#info && (await this.#process?.killWorker())) this.counts.workerKills++;
  }

  /** Throws where it has ended by itself. */
  async watch(signal: AbortSignal): Promise<never> {
    for (;;) {
      await sleep(500, undefined, { signal });
      if (this.#info && !this.#process?.isRunning())
        throw new Violation(undefined, `The local run ended by itself: ${this.#process?.said()}`);
    }
  }

  /** How long it was up without a break at the end of that time, in milliseconds. */
  upBefore(to: number, from: number): number {
    const lastUp = this.#downs.reduce((last, down) => (down.from < to ? Math.max(last, down.to) : last), 0);
    return Math.max(0, to - Math.max(from, lastUp));
  }

  wasUp(from: number, to: number): boolean {
    return this.upBefore(to, from) >= to - from;
  }

  dispose(): Promise<void> {
    this.#info = undefined;
    return this.#process?.kill() ?? Promise.resolve();
  }
}
