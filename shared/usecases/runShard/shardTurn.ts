import type { BatchHead } from '../../domain/batch.ts';
import type { Control } from '../../domain/control.ts';
import type { PhysicalLine } from '../../domain/lines/lineReader.ts';
import type { LineContext } from '../../domain/lines/requestLine.ts';
import type { ModelsFile } from '../../domain/models.ts';
import type { ShardRange, ShardRecord } from '../../domain/shard.ts';
import { ATTEMPTS_OF_A_KILLER, type Caution, cautionAfter, deathsAfterCommit } from '../../domain/workerDeaths.ts';
import type { Invocation, Ports } from '../../ports.ts';
import { ControlWatch } from './controlWatch.ts';
import { failRejected } from './failRejected.ts';
import { HeldLines } from './heldLines.ts';
import { type LaneDeps, openLane } from './openLane.ts';
import { givenUpResult, prepareLine } from './prepareLine.ts';
import { ShardCalls } from './shardCalls.ts';
import { ShardCommits } from './shardCommits.ts';
import type { ShardReader } from './shardReader.ts';
import { planTurn, type TurnPlan } from './turnClock.ts';
import { createWakeUp, type WakeUp } from './wakeUp.ts';

export type TurnDeps = Pick<Ports, 'batches' | 'controls' | 'shards' | 'files'> &
  LaneDeps & {
    providers: Ports['models'];
    models: ModelsFile;
  };

export type TurnContext = {
  head: BatchHead;
  reader: ShardReader;
  range: ShardRange;
  record: ShardRecord;
  control: Control;
};

/** `idle`: nothing can be sent before `until`. `out_of_lines`: the next turn need not be as careful as this one was. */
export type TurnEnd =
  | { kind: 'done' | 'lost' | 'stopped' | 'deadline' | 'out_of_time' | 'out_of_lines' }
  | { kind: 'idle'; until: number };

/** Waiting longer than this is Step Functions' work: a function that waits is paid for. */
const MAX_IDLE_MS = 20_000;
/** Lines in memory for each place in flight: most of them in a back-off. */
const HELD_PER_PLACE = 4;

const NEVER = Number.POSITIVE_INFINITY;

/** One invocation's work on a shard that it has taken: reads, calls, collects, commits, and knows when to stop. */
export class ShardTurn {
  readonly #deps: TurnDeps;
  readonly #context: TurnContext;
  readonly #lineContext: LineContext & { batchId: string; firstLine: number };
  readonly #invocation: Invocation;
  readonly #plan: TurnPlan;
  readonly #reader: ShardReader;
  readonly #held: HeldLines;
  readonly #commits: ShardCommits;
  readonly #calls: ShardCalls;
  readonly #wake: WakeUp;
  /** Earlier workers died on this shard. */
  readonly #caution: Caution;
  #giveUpFirst: boolean;
  /** Lines that may yet be taken in this turn. */
  #linesLeft: number;
  #loading = false;
  readonly #control: ControlWatch;
  /** The batch is being failed: none of its models will have us. */
  #failing: Promise<void> | undefined;
  #fault: { error: unknown } | undefined;

  constructor(deps: TurnDeps, context: TurnContext, invocation: Invocation) {
    const { settings, clock, models } = deps;
    const { worker, limits } = settings;
    const { range, record, head, control, reader } = context;
    this.#deps = deps;
    this.#context = context;
    this.#lineContext = {
      type: head.type,
      models,
      maxLineBytes: limits.lineBytes,
      batchId: head.batchId,
      firstLine: range.firstLine,
    };
    this.#invocation = invocation;
    // This worker's own claim counts as one.
    const caution = cautionAfter(record.deaths - 1);
    this.#caution = caution;
    const { linesAtOnce } = caution;
    this.#giveUpFirst = caution.giveUpFirst;
    this.#linesLeft = caution.maxLines;
    this.#plan = planTurn(invocation.remainingMs(), worker);
    this.#reader = reader;
    reader.leaveOut(record.done);
    this.#commits = new ShardCommits(deps, head, range, record, {
      ...worker,
      ...(linesAtOnce && { commitLines: Math.min(worker.commitLines, linesAtOnce), commitGapMs: 0 }),
      deathsAfterCommit: () => deathsAfterCommit(caution, this.#linesLeft === 0),
    });
    const { inFlightMax, inFlightBytes } = worker;
    const room = { lines: linesAtOnce ?? inFlightMax * HELD_PER_PLACE, bytes: inFlightBytes };
    this.#control = new ControlWatch(deps, head.batchId, { control, everyMs: worker.controlEverySeconds * 1000 });
    const { callTimeoutMs: timeoutMs } = this.#plan;
    this.#held = new HeldLines(room, (model) => openLane(deps, model, { head, callTimeoutMs: timeoutMs }));
    this.#calls = new ShardCalls(deps, {
      batchId: head.batchId,
      held: this.#held,
      commits: this.#commits,
      timeoutMs,
      control: this.#control,
      expectLargest: caution.expectLargest,
      onEnd: (fault) => {
        this.#fault ??= fault;
        this.#wake.now();
      },
    });
    this.#wake = createWakeUp(clock);
  }

  /** Calls that failed, by cause. */
  get failures(): Readonly<Record<string, number>> {
    return this.#calls.failures;
  }

  async run(): Promise<TurnEnd> {
    let end: TurnEnd;
    let goesOn = false;
    try {
      end = await this.#loop();
      goesOn = end.kind === 'idle' || end.kind === 'out_of_time';
      if (end.kind !== 'lost') await this.#commits.flush();
      await this.#failing;
    } catch (error) {
      // What was paid for is kept, if it can be.
      await this.#commits.flush().catch(() => this.#deps.log.warn('results not committed'));
      throw error;
    } finally {
      this.#calls.callOff();
      this.#wake.close();
      await Promise.all([
        this.#commits.tellCounts(),
        ...[...this.#held.lanes.values()].map((lane) => lane.close({ goesOn })),
      ]);
    }
    if (this.#commits.lost) return { kind: 'lost' };
    // Nothing but a wait, or time that ran out over slow calls, says that the model is to blame.
    const waited = end.kind === 'idle' || end.kind === 'out_of_time';
    await this.release({ idle: waited && !this.#commits.committed });
    return this.#commits.shardDone ? { kind: 'done' } : end;
  }

  /** Ends in order: no death, and the attempts that no commit has taken along are kept. */
  async release({ idle = false } = {}): Promise<void> {
    const { committed, unsavedAttempts } = this.#commits;
    if (committed && unsavedAttempts === undefined && !this.#caution.alone) return;
    const { head, range, record } = this.#context;
    await this.#deps.shards.release(head.batchId, range.shard, record.epoch, { attempts: unsavedAttempts, idle });
  }

  async #loop(): Promise<TurnEnd> {
    for (;;) {
      if (this.#fault) throw this.#fault.error;
      if (this.#commits.lost) return { kind: 'lost' };
      const now = this.#deps.clock.now();
      const remainingMs = this.#invocation.remainingMs();
      const control = this.#control;
      this.#failWhereAllAreRejected();
      const late = now >= control.deadline;
      const open = !control.stopped && !late && remainingMs > this.#plan.drainMs;
      if (open) this.#readAndSend(now);
      else if (late && !control.stopped) this.#calls.endTried();
      if (now >= control.callOffAt || remainingMs <= this.#plan.reserveMs) this.#calls.callOff();
      if (!this.#commits.busy && this.#commits.isDue(now)) this.#watch(this.#commits.start());
      if (now >= this.#commits.countsDueAt) this.#watch(this.#commits.tellCounts());
      if (now >= control.dueAt) this.#watch(control.poll());

      if (this.#calls.inFlight === 0 && !this.#loading) {
        if (control.stopped) return { kind: 'stopped' };
        if (late) return { kind: 'deadline' };
        if (!open) return { kind: 'out_of_time' };
        if (this.#held.count === 0 && this.#reader.ended) return { kind: 'done' };
        if (this.#held.count === 0 && this.#linesLeft === 0) return { kind: 'out_of_lines' };
        const until = this.#held.nextSendAt(now);
        const more = this.#commits.busy || this.#held.readyCount(now) > 0 || this.#held.isLearning(now);
        if (!more && until !== NEVER && until - now > MAX_IDLE_MS) return { kind: 'idle', until };
      }
      await this.#wake.waitUntil(this.#nextEventAt(now, remainingMs, open));
    }
  }

  #nextEventAt(now: number, remainingMs: number, open: boolean): number {
    const { drainMs, reserveMs } = this.#plan;
    return Math.min(
      this.#commits.busy ? NEVER : this.#commits.dueAt,
      this.#commits.countsDueAt,
      this.#control.dueAt,
      open ? Math.min(this.#held.nextSendAt(now), this.#control.deadline, now + remainingMs - drainMs) : NEVER,
      this.#calls.calledOff ? NEVER : Math.min(this.#control.callOffAt, now + remainingMs - reserveMs),
    );
  }

  #readAndSend(now: number): void {
    this.#held.wake(now);
    while (this.#wantsLine(now)) {
      const line = this.#reader.next();
      if (!line) break;
      this.#take(line);
    }
    if (this.#linesLeft > 0 && this.#reader.isLow && !this.#loading) this.#load();
    if (this.#mayGoOn()) for (const begun of this.#calls.send(now)) this.#watch(begun);
  }

  /**
   * Lines that wait as objects are copied by the collector again and again: so no more are read than there are places in
   * flight. Where the models of the lines at hand have no place for them, those of others may be further on.
   */
  #wantsLine(now: number): boolean {
    if (this.#linesLeft === 0 || !this.#mayGoOn() || !this.#held.hasRoom) return false;
    const { inFlightMax } = this.#deps.settings.worker;
    const places = inFlightMax - this.#calls.inFlight;
    return this.#held.sendableCount(now) < places && this.#held.readyCount(now) < inFlightMax;
  }

  /** Results that wait for S3 hold up what would make more of them; a line that runs alone waits for the commit. */
  #mayGoOn(): boolean {
    if (this.#caution.alone && (this.#commits.pending > 0 || this.#commits.busy)) return false;
    return this.#commits.heldBytes < 2 * this.#deps.settings.worker.commitBytes;
  }

  #take(physical: PhysicalLine): void {
    this.#linesLeft--;
    const attempts = this.#commits.attempts.get(physical.line - this.#context.range.firstLine) ?? 0;
    if (this.#giveUpFirst) {
      this.#giveUpFirst = false;
      this.#commits.add(givenUpResult(physical, this.#lineContext, Math.max(attempts, ATTEMPTS_OF_A_KILLER)));
      return;
    }
    const { answerBytes } = this.#calls;
    const prepared = prepareLine(physical, this.#lineContext, { attempts, answerBytes });
    if (prepared.kind === 'call') this.#held.hold(prepared.line);
    else this.#commits.add(prepared.result);
  }

  #failWhereAllAreRejected(): void {
    const { head } = this.#context;
    const models = head.plan?.models;
    if (this.#failing || this.#control.stopped || !models) return;
    // Where lines have been answered a few 403 may well mean just theirs.
    const hasAnswers = head.requestCounts.completed > (head.plan?.kept ?? 0);
    const rejection = this.#held.rejectionOfAll(models, ({ cause }) => cause !== 'forbidden' || !hasAnswers);
    if (!rejection) return;
    this.#control.stop();
    this.#failing = failRejected(this.#deps, head, rejection);
    this.#watch(this.#failing);
  }

  #load(): void {
    this.#loading = true;
    this.#watch(
      this.#reader.load().finally(() => {
        this.#loading = false;
      }),
    );
  }

  /** What goes on beside the loop: wakes it when it is through, ends it when it fails. */
  #watch(work: Promise<unknown>): void {
    work.then(
      () => this.#wake.now(),
      (error: unknown) => {
        this.#fault ??= { error };
        this.#wake.now();
      },
    );
  }
}
