import type { Settings } from '../../contract/settings.ts';
import type { BatchHead } from '../../domain/batch.ts';
import type { Control } from '../../domain/control.ts';
import { toModelCall } from '../../domain/lineMapping.ts';
import { describeProblems } from '../../domain/lines/lineProblem.ts';
import type { PhysicalLine } from '../../domain/lines/lineReader.ts';
import { checkLine } from '../../domain/lines/requestLine.ts';
import { errorLine, type FailedLine, outputLine } from '../../domain/lines/resultLine.ts';
import type { ModelsFile } from '../../domain/models.ts';
import { FAILURE_CAUSES, failureMessage } from '../../domain/retry/failureCauses.ts';
import { decideRetry } from '../../domain/retry/retryClock.ts';
import type { ShardRange, ShardRecord } from '../../domain/shard.ts';
import type { Invocation, Ports } from '../../ports.ts';
import { type CallResult, callLine, idempotencyKeyOf, type LineFailure } from './callLine.ts';
import { type HeldLine, HeldLines } from './heldLines.ts';
import { createModelLane, type ModelLane } from './modelLane.ts';
import { ShardCommits } from './shardCommits.ts';
import { ShardReader } from './shardReader.ts';
import { planTurn, type TurnPlan } from './turnClock.ts';
import { createWakeUp, type WakeUp } from './wakeUp.ts';

export type TurnDeps = Pick<Ports, 'batches' | 'controls' | 'shards' | 'files' | 'clock' | 'ids' | 'random' | 'log'> & {
  providers: Ports['models'];
  models: ModelsFile;
  settings: Settings;
};

export type TurnContext = {
  head: BatchHead;
  input: { key: string; etag: string };
  range: ShardRange;
  record: ShardRecord;
  control: Control;
};

/** `idle`: nothing can be sent before `until`. */
export type TurnEnd =
  | { kind: 'done' | 'lost' | 'stopped' | 'deadline' | 'out_of_time' }
  | { kind: 'idle'; until: number };

/** Waiting longer than this is Step Functions' work: a function that waits is paid for. */
const MAX_IDLE_MS = 20_000;
/** Lines in memory for each place in flight: most of them in a back-off. */
const HELD_PER_PLACE = 4;
/** Text, parsed value, the text that is sent and its bytes are there at once. */
const COPIES_OF_A_LINE = 4;
/** What an answer is taken for until larger ones were seen; and how fast large ones are forgotten. */
const LEAST_ANSWER_BYTES = 16 * 1024;
const ANSWER_PEAK_DECAY = 0.98;
/** Kept of a failed answer while its line waits for the next try. */
const MAX_KEPT_ANSWER = 64 * 1024;
/** Workers that died in a row, without a commit, before lines run alone, and before the first of them is given up. */
const DEATHS_UNTIL_ALONE = 2;
const DEATHS_UNTIL_GIVEN_UP = 3;

/** One invocation's work on a shard that it has taken: reads, calls, collects, commits, and knows when to stop. */
export class ShardTurn {
  readonly #deps: TurnDeps;
  readonly #context: TurnContext;
  readonly #invocation: Invocation;
  readonly #plan: TurnPlan;
  readonly #reader: ShardReader;
  readonly #held: HeldLines;
  readonly #commits: ShardCommits;
  readonly #wake: WakeUp;
  readonly #calls = new AbortController();
  /** One line at a time, each committed before the next: earlier workers died on this shard. */
  readonly #alone: boolean;
  #giveUpFirst: boolean;
  #inFlight = 0;
  #loading = false;
  #polling = false;
  #nextPollAt: number;
  #stopped = false;
  #deadline: number;
  #answerPeak = LEAST_ANSWER_BYTES;
  #fault: { error: unknown } | undefined;

  constructor(deps: TurnDeps, context: TurnContext, invocation: Invocation) {
    const { worker, limits } = deps.settings;
    const { range, record, head, control, input } = context;
    // This worker's own claim counts as one.
    const died = record.deaths - 1;
    this.#deps = deps;
    this.#context = context;
    this.#invocation = invocation;
    this.#alone = died >= DEATHS_UNTIL_ALONE;
    this.#giveUpFirst = died >= DEATHS_UNTIL_GIVEN_UP;
    this.#plan = planTurn(invocation.remainingMs(), worker);
    this.#reader = new ShardReader(deps.files, input, range, record.done, limits.lineBytes);
    this.#commits = new ShardCommits(deps, head, range, record, {
      ...worker,
      ...(this.#alone ? { commitLines: 1 } : {}),
    });
    this.#wake = createWakeUp(deps.clock);
    this.#deadline = control.deadline;
    this.#nextPollAt = deps.clock.now() + worker.controlEverySeconds * 1000;
    this.#held = new HeldLines(
      { lines: this.#alone ? 1 : worker.inFlightMax * HELD_PER_PLACE, bytes: worker.inFlightBytes },
      () =>
        createModelLane({
          start: worker.inFlightStart,
          max: worker.inFlightMax,
          retryBaseMs: worker.retryBaseMs,
          retryMaxMs: worker.retryMaxMs,
          now: () => deps.clock.now(),
          random: deps.random,
        }),
    );
  }

  async run(): Promise<TurnEnd> {
    let end: TurnEnd;
    try {
      end = await this.#loop();
      if (end.kind !== 'lost') await this.#commits.flush();
    } catch (error) {
      // What was paid for is kept, if it can be.
      await this.#commits.flush().catch(() => this.#deps.log.warn('results not committed'));
      throw error;
    } finally {
      this.#calls.abort(new Error('the worker has ended'));
      this.#wake.close();
    }
    if (this.#commits.lost) return { kind: 'lost' };
    await this.release();
    return this.#commits.shardDone ? { kind: 'done' } : end;
  }

  /** Ends in order: no death, and the attempts that no commit has taken along are kept. */
  async release(): Promise<void> {
    const { committed, unsavedAttempts } = this.#commits;
    if (committed && unsavedAttempts === undefined) return;
    const { head, range, record } = this.#context;
    await this.#deps.shards.release(head.batchId, range.shard, record.epoch, unsavedAttempts);
  }

  async #loop(): Promise<TurnEnd> {
    for (;;) {
      if (this.#fault) throw this.#fault.error;
      if (this.#commits.lost) return { kind: 'lost' };
      const now = this.#deps.clock.now();
      const remainingMs = this.#invocation.remainingMs();
      const late = now >= this.#deadline;
      const open = !this.#stopped && !late && remainingMs > this.#plan.drainMs;
      if (open) this.#readAndSend(now);
      else if (late && !this.#stopped) this.#endTried();
      if (this.#stopped || remainingMs <= this.#plan.reserveMs) this.#calls.abort(new Error('the worker stops'));
      if (!this.#commits.busy && this.#commits.isDue(now)) this.#watch(this.#commits.start());
      if (!this.#polling && now >= this.#nextPollAt) this.#poll();

      if (this.#inFlight === 0 && !this.#loading) {
        if (this.#stopped) return { kind: 'stopped' };
        if (late) return { kind: 'deadline' };
        if (!open) return { kind: 'out_of_time' };
        if (this.#reader.ended && this.#held.count === 0) return { kind: 'done' };
        const until = this.#held.nextSendAt(now);
        const held = this.#commits.busy || this.#held.readyCount(now) > 0;
        if (!held && until !== Number.POSITIVE_INFINITY && until - now > MAX_IDLE_MS) return { kind: 'idle', until };
      }
      await this.#wake.waitUntil(this.#nextEventAt(now, remainingMs, open));
    }
  }

  #nextEventAt(now: number, remainingMs: number, open: boolean): number {
    const { drainMs, reserveMs } = this.#plan;
    return Math.min(
      this.#commits.busy ? Number.POSITIVE_INFINITY : this.#commits.dueAt,
      this.#polling ? Number.POSITIVE_INFINITY : this.#nextPollAt,
      open
        ? Math.min(this.#held.nextSendAt(now), this.#deadline, now + remainingMs - drainMs)
        : Number.POSITIVE_INFINITY,
      this.#calls.signal.aborted ? Number.POSITIVE_INFINITY : now + remainingMs - reserveMs,
    );
  }

  /* ---------------------------------------------------------------- reading */

  #readAndSend(now: number): void {
    this.#held.wake(now);
    const { inFlightMax } = this.#deps.settings.worker;
    while (this.#mayGoOn() && this.#held.hasRoom && this.#held.readyCount(now) < inFlightMax) {
      const line = this.#reader.next();
      if (line) this.#take(line);
      else {
        if (!this.#reader.ended && !this.#loading) this.#load();
        break;
      }
    }
    if (this.#mayGoOn()) this.#send(now);
  }

  /** Results that wait for S3 hold up what would make more of them; a line that runs alone waits for the commit. */
  #mayGoOn(): boolean {
    if (this.#alone && (this.#commits.pending > 0 || this.#commits.busy)) return false;
    return this.#commits.heldBytes < 2 * this.#deps.settings.worker.commitBytes;
  }

  #load(): void {
    this.#loading = true;
    this.#watch(
      this.#reader.load().finally(() => {
        this.#loading = false;
      }),
    );
  }

  #take(physical: PhysicalLine): void {
    const { models, settings } = this.#deps;
    const { head, range } = this.#context;
    const { line } = physical;
    const index = line - range.firstLine;
    const attempts = this.#commits.attempts.get(index) ?? 0;
    const checked = checkLine(physical, { type: head.type, models, maxLineBytes: settings.limits.lineBytes });
    if (this.#giveUpFirst) {
      this.#giveUpFirst = false;
      const error = { code: 'processing_failed', message: 'Each worker that ran this line died of it.' } as const;
      const customId = checked.ok ? checked.request.customId : checked.customId;
      this.#fail({ line, customId, error, attempts: Math.max(attempts, DEATHS_UNTIL_GIVEN_UP) });
      return;
    }
    if (!checked.ok) {
      // Validate found it good: the models of this deployment have changed since.
      const code = checked.problems[0]?.code ?? 'invalid_line';
      const message = describeProblems(checked.problems);
      this.#fail({ line, customId: checked.customId, error: { code, message }, attempts });
      return;
    }
    const { request } = checked;
    const call = toModelCall(request, models);
    if (call.kind === 'answered') {
      const json = outputLine(head.batchId, { line, customId: request.customId }, call.statusCode, call.body);
      this.#commits.add({ line, file: 'o', json });
      return;
    }
    if (call.kind === 'model_not_found') {
      this.#fail({ line, customId: request.customId, error: { code: call.kind, message: call.message }, attempts });
      return;
    }
    const bytes = physical.end - physical.start;
    this.#held.hold({
      line,
      index,
      request,
      call,
      idempotencyKey: idempotencyKeyOf(head.batchId, line),
      weight: bytes * COPIES_OF_A_LINE + Math.ceil(this.#answerPeak),
      attempts,
      tries: attempts,
      readyAt: 0,
    });
  }

  /* ---------------------------------------------------------------- calling */

  #send(now: number): void {
    for (const lane of this.#held.lanes.values()) {
      if (lane.rejected) {
        const { cause, status } = lane.rejected;
        const message = failureMessage(cause, status === undefined ? {} : { status });
        for (const line of lane.ready.splice(0)) this.#finishFailed(line, { cause, message });
      }
      while (lane.canSend(now) && this.#inFlight < this.#deps.settings.worker.inFlightMax) {
        const line = lane.ready.shift();
        if (!line) break;
        this.#call(lane, line);
      }
    }
  }

  #call(lane: ModelLane<HeldLine>, line: HeldLine): void {
    const ticket = lane.window.enter();
    this.#inFlight++;
    const options = {
      timeoutMs: this.#plan.callTimeoutMs,
      maxAnswerBytes: this.#deps.settings.limits.answerBytes,
      signal: this.#calls.signal,
    };
    this.#watch(
      callLine(this.#deps, line, options).then((result) => {
        this.#inFlight--;
        this.#settle(lane, ticket, line, result);
      }),
    );
  }

  #settle(lane: ModelLane<HeldLine>, ticket: number, line: HeldLine, result: CallResult): void {
    switch (result.kind) {
      case 'called_off':
        lane.calledOff(ticket);
        this.#held.letGo(line);
        return;
      case 'answered': {
        lane.succeeded(ticket);
        this.#commits.addUsage(result.usage);
        this.#answerPeak = Math.max(LEAST_ANSWER_BYTES, result.body.length * 2, this.#answerPeak * ANSWER_PEAK_DECAY);
        const { batchId } = this.#context.head;
        const named = { line: line.line, customId: line.request.customId };
        this.#held.letGo(line);
        this.#commits.add({
          line: line.line,
          file: 'o',
          json: outputLine(batchId, named, result.statusCode, result.body),
        });
        return;
      }
      case 'failed':
        lane.failed(ticket, result.failure);
        this.#commits.addUsage(result.failure.usage);
        this.#retryOrFinish(line, result.failure);
    }
  }

  #retryOrFinish(line: HeldLine, failure: LineFailure): void {
    const { cause, retryAfterMs } = failure;
    line.tries++;
    if (FAILURE_CAUSES[cause].countsAsAttempt) line.attempts++;
    const decision = decideRetry(
      { cause, attempts: line.attempts, tries: line.tries, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
      this.#deps.settings.worker,
      { now: this.#deps.clock.now(), deadline: this.#deadline, random: this.#deps.random },
    );
    if (!decision.retry) {
      this.#finishFailed(line, failure);
      return;
    }
    const { response, ...withoutResponse } = failure;
    line.failure = response && response.body.length > MAX_KEPT_ANSWER ? withoutResponse : failure;
    this.#commits.setAttempts(line.index, line.attempts);
    this.#held.backOff(line, decision.at);
  }

  /** The window is over: what failed and waits for another try ends with its failure. */
  #endTried(): void {
    for (const line of this.#held.takeTried()) if (line.failure) this.#finishFailed(line, line.failure);
  }

  #finishFailed(line: HeldLine, failure: LineFailure): void {
    const code = FAILURE_CAUSES[failure.cause].lineErrorCode;
    this.#held.letGo(line);
    this.#fail({
      line: line.line,
      customId: line.request.customId,
      error: { code, message: failure.message },
      attempts: line.attempts,
      ...(failure.response ? { response: failure.response } : {}),
    });
  }

  #fail(failed: FailedLine): void {
    this.#commits.add({ line: failed.line, file: 'e', json: errorLine(this.#context.head.batchId, failed) });
  }

  /* ---------------------------------------------------------------- watching */

  #poll(): void {
    const { controls, clock, settings, log } = this.#deps;
    const { batchId } = this.#context.head;
    this.#polling = true;
    const polled = controls.get(batchId).then(
      (control) => {
        if (control?.action === 'stop') this.#stopped = true;
        this.#deadline = control?.deadline ?? this.#deadline;
      },
      // The next look is near, and stopping a batch does not hang on this one.
      (error: unknown) =>
        log.warn('control not read', { batchId, error: error instanceof Error ? error.name : 'unknown' }),
    );
    this.#watch(
      polled.finally(() => {
        this.#polling = false;
        this.#nextPollAt = clock.now() + settings.worker.controlEverySeconds * 1000;
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
