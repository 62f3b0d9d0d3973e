import type { Settings } from '../../contract/settings.ts';
import type { ModelsFile } from '../../domain/models.ts';
import { FAILURE_CAUSES, failureMessage } from '../../domain/retry/failureCauses.ts';
import { decideRetry, isUsedUp } from '../../domain/retry/retryClock.ts';
import type { Ports } from '../../ports.ts';
import { AnswerSizes } from './answerSizes.ts';
import type { GatedCall } from './callGate.ts';
import { type CallOptions, type CallResult, callLine, type LineFailure } from './callLine.ts';
import type { HeldLine, HeldLines } from './heldLines.ts';
import type { ModelLane } from './modelLane.ts';
import { answeredResult, failedCallResult } from './prepareLine.ts';
import type { ShardCommits } from './shardCommits.ts';

/**
 * Kept of failed answers while their lines wait for the next try: characters of one or two bytes, of a worker that has
 * 512 MB. What comes on top is not kept; the answer that a line ends with at once needs no keeping.
 */
const MAX_KEPT_ANSWERS = 32 * 1024 * 1024;

type CallDeps = Pick<Ports, 'clock' | 'random' | 'log'> & {
  providers: Ports['models'];
  models: ModelsFile;
  settings: Settings;
};

/** The calls in flight: sends what may be sent, and makes of each answer a result, another try, or the line's end. */
export class ShardCalls {
  readonly #deps: CallDeps;
  readonly #batchId: string;
  readonly #held: HeldLines;
  readonly #commits: ShardCommits;
  readonly #options: CallOptions;
  readonly #abort = new AbortController();
  readonly #sizes: AnswerSizes;
  #inFlight = 0;
  /** Bytes that the answers to the calls in flight are expected to take. */
  #expectedBytes = 0;
  #keptAnswers = 0;
  /** Calls that failed, by the label of their cause: for the log. */
  readonly failures: Record<string, number> = {};
  /** Its `deadline`: no try starts at that time or after it. */
  readonly #control: { readonly deadline: number };
  readonly #onEnd: (fault?: { error: unknown }) => void;

  constructor(
    deps: CallDeps,
    work: {
      batchId: string;
      held: HeldLines;
      commits: ShardCommits;
      timeoutMs: number;
      control: { readonly deadline: number };
      /** An answer is taken for the largest that may come, until others were seen. */
      expectLargest: boolean;
      /** A line's call is over, or will not be made. A fault is ours, never a model's. */
      onEnd(fault?: { error: unknown }): void;
    },
  ) {
    this.#deps = deps;
    this.#batchId = work.batchId;
    this.#held = work.held;
    this.#commits = work.commits;
    const { answerBytes: maxAnswerBytes } = deps.settings.limits;
    this.#options = { timeoutMs: work.timeoutMs, maxAnswerBytes, signal: this.#abort.signal };
    this.#control = work.control;
    this.#onEnd = work.onEnd;
    this.#sizes = new AnswerSizes(maxAnswerBytes, work.expectLargest);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Bytes to expect of a call's answer, as text and as result. */
  readonly answerBytes = (call: HeldLine['call']): number => this.#sizes.expected(call);

  get calledOff(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Ends every call in flight; their lines have not had their try. */
  callOff(): void {
    this.#abort.abort(new Error('the worker stops'));
  }

  /** Fills the windows. Answers what its lanes have begun to find out for that. */
  send(now: number): Promise<void>[] {
    const { worker } = this.#deps.settings;
    const begun: Promise<void>[] = [];
    for (const lane of this.#held.lanes.values()) {
      if (lane.rejected && lane.ready.length > 0) {
        this.#failAll(lane, lane.rejected);
        this.#onEnd();
      }
      if (lane.ready.length > 0) begun.push(...lane.prepare(now));
      while (lane.canSend(now) && this.#hasRoom) {
        const line = lane.probing ? takeLeastTried(lane.ready) : lane.ready.shift();
        if (!line) break;
        const usedUp = line.failure && isUsedUp({ cause: line.failure.cause, attempts: line.attempts }, worker);
        if (line.failure && usedUp) {
          this.#finishFailed(line, line.failure);
          this.#onEnd();
        } else this.#call(lane, line);
      }
    }
    return begun;
  }

  /** Lines were read by what answers were expected to be then; they are sent by what is known now. */
  get #hasRoom(): boolean {
    const { inFlightMax, inFlightBytes } = this.#deps.settings.worker;
    return this.#inFlight < inFlightMax && (this.#inFlight === 0 || this.#expectedBytes < inFlightBytes);
  }

  /** The window is over: what failed and waits for another try ends with its failure. */
  endTried(): void {
    for (const line of this.#held.takeTried()) if (line.failure) this.#finishFailed(line, line.failure);
  }

  #failAll(lane: ModelLane<HeldLine>, { cause, status }: NonNullable<ModelLane<HeldLine>['rejected']>): void {
    const message = failureMessage(cause, status === undefined ? {} : { status });
    for (const line of lane.ready.splice(0)) this.#finishFailed(line, withLastAnswer({ cause, message }, line));
  }

  #call(lane: ModelLane<HeldLine>, line: HeldLine): void {
    const call = { line, beganAt: this.#deps.clock.now(), blame: () => this.#useAttempt(line) };
    lane.began(call);
    const expectedBytes = this.#sizes.expected(line.call);
    this.#inFlight++;
    this.#expectedBytes += expectedBytes;
    const over = (settle?: () => void, fault?: { error: unknown }) => {
      this.#inFlight--;
      this.#expectedBytes -= expectedBytes;
      try {
        settle?.();
        this.#onEnd(fault);
      } catch (error) {
        this.#onEnd({ error });
      }
    };
    // Nothing waits for it: a promise a call is a good part of what a fast one costs.
    void callLine(this.#deps, line, this.#options).then(
      (result) => over(() => this.#settle(lane, call, line, result)),
      (error: unknown) => over(undefined, { error }),
    );
  }

  #settle(lane: ModelLane<HeldLine>, call: GatedCall, line: HeldLine, result: CallResult): void {
    switch (result.kind) {
      case 'called_off':
        lane.ended(call, { cause: 'called_off' });
        this.#letGo(line);
        return;
      case 'answered': {
        const { statusCode, body, usage } = result;
        lane.ended(call, { usage });
        this.#commits.addUsage(usage);
        this.#sizes.saw(line.call, body.length);
        this.#letGo(line);
        this.#commits.add(answeredResult(this.#batchId, line.line, line.request.customId, statusCode, body));
        return;
      }
      case 'failed':
        lane.ended(call, result.failure);
        this.#commits.addUsage(result.failure.usage);
        this.#retryOrFinish(line, result.failure);
    }
  }

  #retryOrFinish(line: HeldLine, newest: LineFailure): void {
    const failure = withLastAnswer(newest, line);
    const { cause, retryAfterMs } = failure;
    const { metric, countsAsAttempt, model } = FAILURE_CAUSES[cause];
    this.failures[metric] = (this.failures[metric] ?? 0) + 1;
    line.tries++;
    // Whether a fault that may be the model's is held against the line, the lane's circuit says.
    if (countsAsAttempt && model !== 'down') line.attempts++;
    const decision = decideRetry(
      { cause, attempts: line.attempts, tries: line.tries, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
      this.#deps.settings.worker,
      { now: this.#deps.clock.now(), deadline: this.#control.deadline, random: this.#deps.random },
    );
    if (!decision.retry) {
      this.#finishFailed(line, failure);
      return;
    }
    this.#keep(line, failure);
    this.#commits.setAttempts(line.index, line.attempts);
    this.#held.backOff(line, decision.at);
  }

  #useAttempt(line: HeldLine): void {
    if (line.isOver) return;
    line.attempts++;
    this.#commits.setAttempts(line.index, line.attempts);
  }

  #keep(line: HeldLine, failure: LineFailure): void {
    this.#keptAnswers -= keptOf(line);
    const { response, ...withoutResponse } = failure;
    const fits = this.#keptAnswers + (response?.body.length ?? 0) <= MAX_KEPT_ANSWERS;
    line.failure = fits ? failure : withoutResponse;
    this.#keptAnswers += keptOf(line);
  }

  #letGo(line: HeldLine): void {
    this.#keptAnswers -= keptOf(line);
    this.#held.letGo(line);
  }

  #finishFailed(line: HeldLine, failure: LineFailure): void {
    this.#letGo(line);
    this.#commits.add(failedCallResult(this.#batchId, line, failure));
  }
}

/** The line that a probe is made with: the least likely to be what brings the model down. */
function takeLeastTried(ready: HeldLine[]): HeldLine | undefined {
  const burden = ({ attempts, failure }: HeldLine) => 2 * attempts + (failure ? 1 : 0);
  let least = 0;
  ready.forEach((line, at) => {
    const best = ready[least];
    if (best && burden(line) < burden(best)) least = at;
  });
  return ready.splice(least, 1)[0];
}

function keptOf({ failure }: HeldLine): number {
  return failure?.response?.body.length ?? 0;
}

/** A failure without an answer leaves the one before it the last; but one that was too large has come after it. */
function withLastAnswer(failure: LineFailure, { failure: before }: HeldLine): LineFailure {
  if (failure.response || !before?.response || failure.cause === 'too_large') return failure;
  return { ...failure, response: before.response };
}
