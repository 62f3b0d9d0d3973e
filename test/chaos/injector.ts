import type { BatchRef } from '../../shared/domain/batch.ts';
import type { MissingDue } from '../../shared/ports.ts';
import { type Json, StatesError } from '../simulation/machine.ts';
import type { SimulatedWorkflow } from '../simulation/simulatedWorkflow.ts';
import type { Around, Interceptor, PortCall, Process, StepCall } from '../simulation/simulation.ts';
import { STREAMS } from '../simulation/trackedPorts.ts';
import type { VirtualTime } from '../simulation/virtualTime.ts';
import type { Random } from '../support/random.ts';
import { withLostAnswer } from './lostAnswers.ts';
import { type Fault, LATE_MS, SKEW_MS, type Weather } from './weather.ts';

const FILES = new Set(['files', 'files.upload']);
const STARTS = new Set(['startBatch', 'startNotification', 'startSnapshot']);
const DESCRIBES = new Set(['describeBatch', 'describeNotification', 'describeSnapshot', 'stopBatch']);
const NEVER = new Promise<never>(() => undefined);

/** What a port throws after its client's own retries. */
export class InjectedFault extends Error {
  constructor(name: string, what: string) {
    super(`Injected: ${what}`);
    this.name = name;
  }
}

export type InjectorOptions = {
  weather: Weather;
  random: Random;
  /** Told of each fault, as it happens. */
  onFault(fault: Fault, where: string): void;
  isOwn(projectId: string): boolean;
  /** A batch that has ended, for an index that names too many. */
  anEndedBatch(): BatchRef | undefined;
};

/**
 * Faults at the ports, at invocations and in executions. What happens to a process is drawn from a stream of its own, so
 * that others do not change it.
 */
export class Injector {
  readonly #options: InjectorOptions;
  readonly #fates = new WeakMap<Process, Fate>();
  readonly #seen = new Map<string, number>();
  /** Ends of workers that look like deaths to the records, by batch. */
  readonly #workerDeaths = new Map<string, number>();
  readonly #deletedParts = new Set<string>();
  #time: VirtualTime | undefined;
  #startedAt = 0;

  constructor(options: InjectorOptions) {
    this.#options = options;
  }

  attach(time: VirtualTime): void {
    this.#time = time;
    this.#startedAt = time.now;
  }

  get isOver(): boolean {
    return this.time.now >= this.#startedAt + this.#options.weather.faultsForMs;
  }

  get time(): VirtualTime {
    if (!this.#time) throw new Error('The injector is not attached yet');
    return this.#time;
  }

  /** See `Witness`. A line is given up after three workers that died of it. */
  harmDone(batchId: string): { workersDied: boolean; partsDeleted: boolean } {
    const workersDied = [...this.#workerDeaths].some(([shard, deaths]) => deaths >= 3 && shard.startsWith(batchId));
    return { workersDied, partsDeleted: this.#deletedParts.has(batchId) };
  }

  /** Resolves once the process stands still no more. */
  async thawed(process: Process): Promise<void> {
    const { frozenUntil } = this.#fateOf(process);
    if (frozenUntil > this.time.now) await this.#sleep(frozenUntil - this.time.now);
  }

  readonly intercept: Interceptor = (call, proceed) => {
    const { process, port, method } = call;
    if (port === 'clock') {
      const answer = proceed();
      return answer instanceof Promise ? answer.then(() => this.thawed(process)) : answer;
    }
    const fate = this.#fateOf(process);
    if (STREAMS.has(`${port}.${method}`)) return this.#stream(call, proceed() as AsyncIterable<unknown>);
    return this.#call(call, fate, async () => await proceed());
  };

  async #call(call: PortCall, fate: Fate, proceed: () => Promise<unknown>): Promise<unknown> {
    const { process, port, method } = call;
    const { random } = fate;
    const where = `${process.functionName} ${port}.${method}`;
    const draw = (fault: Fault) => this.#draw(fault, random, where);
    // Models have faults of their own; and when one is called counts for deadlines.
    if (port === 'provider') return proceed();
    await this.thawed(process);
    if (draw('clock_jumps')) process.skewMs = random.int(-SKEW_MS.behind, SKEW_MS.ahead);
    if (draw('killed_before')) return this.#kill(process);
    if (draw('killed_after')) {
      await proceed().catch(() => undefined);
      return this.#kill(process);
    }
    if (draw('killed_call_arrives')) {
      void this.#sleep(random.int(0, LATE_MS))
        .then(proceed)
        .catch(() => undefined);
      return this.#kill(process);
    }
    if (draw('frozen')) {
      fate.frozenUntil = this.time.now + random.int(5_000, random.chance(0.7) ? 60_000 : LATE_MS);
      this.#countDeath(process);
      await this.thawed(process);
    } else if (draw('slow')) await this.#sleep(random.int(10, 10_000));
    // Killed at its timeout meanwhile: what was on its way may arrive all the same.
    if (process.dead && random.chance(0.5)) return NEVER;

    if (port === 'workflow') return this.#workflowCall(method, draw, proceed);
    if (port === 'receivers') return this.#receiverCall(draw, proceed);
    if (port === 'sources') return proceed();
    if (FILES.has(port)) return this.#fileCall(call, random, draw, proceed);
    if (method === 'listDue') return this.#dueCall(random, draw, proceed);
    return this.#tableCall(call, random, draw, proceed);
  }

  async #tableCall({ method, args, port }: PortCall, random: Random, draw: Draw, proceed: () => Promise<unknown>) {
    const refusal = random.pick([
      'ThrottlingException',
      'InternalServerError',
      'ProvisionedThroughputExceededException',
    ]);
    if (draw('table_refused')) {
      throw new InjectedFault(refusal, 'the table refuses');
    }
    if (draw('table_timed_out')) {
      await proceed();
      throw new InjectedFault('TimeoutError', 'the answer of the table is lost');
    }
    const answer = draw('table_answer_lost') ? await withLostAnswer(proceed) : await proceed();
    if (port === 'shards' && method === 'commit' && answer === 'committed' && draw('part_deleted'))
      this.#deletePart(args);
    return answer;
  }

  async #fileCall({ method }: PortCall, random: Random, draw: Draw, proceed: () => Promise<unknown>): Promise<unknown> {
    const refusal = random.pick(['InternalError', 'SlowDown']);
    if (draw('file_refused')) throw new InjectedFault(refusal, 'the bucket refuses');
    if (method !== 'read' && draw('file_timed_out')) {
      await proceed();
      throw new InjectedFault('TimeoutError', 'the answer of the bucket is lost');
    }
    if (method !== 'read') return draw('file_answer_lost') ? await withLostAnswer(proceed) : await proceed();
    const body = (await proceed()) as AsyncIterable<Uint8Array>;
    return draw('body_broken') ? broken(body, random.next()) : body;
  }

  async #workflowCall(method: string, draw: Draw, proceed: () => Promise<unknown>): Promise<unknown> {
    if (STARTS.has(method)) {
      if (draw('start_refused')) throw new InjectedFault('ThrottlingException', 'no start');
      const answer = await proceed();
      if (draw('start_timed_out')) throw new InjectedFault('TimeoutError', 'the answer of a start is lost');
      return answer;
    }
    if (DESCRIBES.has(method) && draw('describe_refused')) throw new InjectedFault('ThrottlingException', 'no answer');
    return proceed();
  }

  async #receiverCall(draw: Draw, proceed: () => Promise<unknown>): Promise<unknown> {
    if (draw('receiver_unreachable')) return { kind: 'unreachable', reason: 'injected' };
    const answer = await proceed();
    return draw('receiver_answer_lost') ? { kind: 'unreachable', reason: 'injected, after it' } : answer;
  }

  async #dueCall(random: Random, draw: Draw, proceed: () => Promise<unknown>): Promise<unknown> {
    // What other runs have left on the same table is none of this one's business.
    let due = ((await proceed()) as BatchRef[]).filter(({ projectId }) => this.#options.isOwn(projectId));
    if (draw('due_omitted')) due = due.filter(() => random.chance(0.5));
    const ended = this.#options.anEndedBatch();
    return ended && draw('due_stale') ? [ended, ...due.filter(({ batchId }) => batchId !== ended.batchId)] : due;
  }

  async *#stream({ process, port, method }: PortCall, stream: AsyncIterable<unknown>): AsyncGenerator<unknown> {
    const { random } = this.#fateOf(process);
    if (this.#draw('table_refused', random, `${process.functionName} ${port}.${method}`))
      throw new InjectedFault('ThrottlingException', 'the table refuses');
    for await (const value of stream) {
      if (method !== 'listMissingDue') yield value;
      else yield (value as MissingDue[]).filter(({ ref }) => this.#options.isOwn(ref.projectId));
    }
  }

  readonly around: Around = async (call, invoke) => {
    const random = this.#fork(`invocation ${identity(call)}`);
    const draw = (fault: Fault) => this.#draw(fault, random, `workflow/${call.step}`);
    const looksLikeDeath = () => this.#countWorkerDeath(call.step === 'runShard' ? call.payload : {});
    if (draw('not_invoked')) throw new StatesError('Lambda.TooManyRequestsException', 'Injected: not invoked');
    if (draw('answer_lost')) {
      looksLikeDeath();
      const invoked = invoke();
      invoked.catch(() => undefined);
      // Before it has ended, or after.
      await Promise.race([this.#sleep(random.int(0, 120_000)), invoked.catch(() => undefined)]);
      throw new StatesError(random.pick(['Lambda.Unknown', 'Lambda.ServiceException']), 'Injected: answer lost');
    }
    if (draw('invoked_twice')) {
      looksLikeDeath();
      const [first, second] = [invoke(), this.#sleep(random.int(0, 5_000)).then(invoke)];
      const [one, other] = random.chance(0.5) ? [first, second] : [second, first];
      other.catch(() => undefined);
      return one;
    }
    const answer = await invoke();
    if (draw('invoked_again_later')) {
      looksLikeDeath();
      void this.#sleep(random.int(0, LATE_MS))
        .then(invoke)
        .catch(() => undefined);
    }
    return answer;
  };

  /** Takes executions away or cuts them off, until the faults are over. */
  async disturb(workflow: SimulatedWorkflow): Promise<void> {
    const random = this.#fork('executions');
    while (!this.isOver) {
      await this.#sleep(random.int(5_000, 90_000));
      const running = [...workflow.executions].filter(([, { status }]) => status === 'running').map(([name]) => name);
      if (running.length === 0) continue;
      const name = random.pick(running);
      if (this.#draw('execution_lost', random, 'execution')) workflow.lose(name);
      else if (this.#draw('execution_cut_off', random, 'execution'))
        workflow.cutOff(name, random.pick(['failed', 'timed_out', 'aborted']));
    }
  }

  #draw(fault: Fault, random: Random, where: string): boolean {
    const rate = this.#options.weather.rates[fault];
    // Drawn in any case, so that what comes after does not hang on which faults a run has.
    const drawn = random.next() < rate;
    if (!drawn || this.isOver) return false;
    this.#options.onFault(fault, where);
    return true;
  }

  #fateOf(process: Process): Fate {
    const known = this.#fates.get(process);
    if (known) return known;
    const random = this.#fork(`process ${process.functionName} ${JSON.stringify(process.payload)}`);
    const fate: Fate = { random, frozenUntil: 0 };
    this.#fates.set(process, fate);
    if (this.#draw('clock_wrong', random, process.functionName))
      process.skewMs = random.int(-SKEW_MS.behind, SKEW_MS.ahead);
    return fate;
  }

  /** The n-th stream of that name. */
  #fork(name: string): Random {
    const count = this.#seen.get(name) ?? 0;
    this.#seen.set(name, count + 1);
    return this.#options.random.fork(`${name} ${count}`);
  }

  #kill(process: Process): Promise<never> {
    this.#countDeath(process);
    process.kill();
    return NEVER;
  }

  #countDeath({ functionName, payload }: Process): void {
    if (functionName === 'workflow/runShard') this.#countWorkerDeath(payload);
  }

  #countWorkerDeath(payload: Json): void {
    const { batchId, shard } = payload as { batchId?: string; shard?: { shard: number } };
    if (batchId === undefined || shard === undefined) return;
    const key = `${batchId} ${shard.shard}`;
    this.#workerDeaths.set(key, (this.#workerDeaths.get(key) ?? 0) + 1);
  }

  /** Of the commit that was just made. */
  #deletePart([batchId, commit]: unknown[]): void {
    const { segment } = commit as { segment?: { key: string } };
    if (!segment) return;
    this.#deletedParts.add(String(batchId));
    this.deletePart?.(segment.key);
  }
  /** Deletes an object; set by whoever has the bucket. */
  deletePart: ((key: string) => void) | undefined;

  #sleep(ms: number): Promise<void> {
    return this.time.clock.sleep(ms);
  }
}

type Draw = (fault: Fault) => boolean;
type Fate = { random: Random; frozenUntil: number };

function identity({ step, payload }: StepCall): string {
  return `${step} ${JSON.stringify(payload)}`;
}

/** Gives a part of the body, then breaks off. */
async function* broken(body: AsyncIterable<Uint8Array>, share: number): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    const cut = Math.floor(chunk.length * share);
    if (cut > 0) yield chunk.subarray(0, cut);
    break;
  }
  throw new InjectedFault('ECONNRESET', 'the body breaks off');
}
