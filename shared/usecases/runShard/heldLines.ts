import type { CalledLine, LineFailure } from './callLine.ts';
import type { ModelLane, Rejection } from './modelLane.ts';

/** A line that this worker has read and not finished: ready, in flight or in a back-off. */
export type HeldLine = CalledLine & {
  /** Place in the shard. */
  index: number;
  /** Bytes that it is counted with. */
  weight: number;
  /** Attempts used up, and failures in a row of any kind. */
  attempts: number;
  tries: number;
  /** The newest failure: what the line ends with if the window ends before its next try. */
  failure?: LineFailure;
  readyAt: number;
  /** It has its result, or is left for another turn. */
  isOver?: boolean;
};

/** A lane that goes by a pace is closed most of the time, between two calls. */
const SOON_MS = 1_000;

/**
 * The lines in memory, by model. A line in a back-off holds no place in any window, only its bytes; there is room for
 * so many lines and bytes, and no more is read until some are finished.
 */
export class HeldLines {
  readonly lanes = new Map<string, ModelLane<HeldLine>>();
  readonly #makeLane: (model: string) => ModelLane<HeldLine>;
  readonly #limits: { lines: number; bytes: number };
  #waiting: HeldLine[] = [];
  #nextReadyAt = Number.POSITIVE_INFINITY;
  #count = 0;
  #bytes = 0;

  constructor(limits: { lines: number; bytes: number }, makeLane: (model: string) => ModelLane<HeldLine>) {
    this.#limits = limits;
    this.#makeLane = makeLane;
  }

  get count(): number {
    return this.#count;
  }

  /** True for the first line whatever its size: a line larger than the whole room must run too. */
  get hasRoom(): boolean {
    return this.#count < this.#limits.lines && this.#bytes < this.#limits.bytes;
  }

  lane(model: string): ModelLane<HeldLine> {
    const lane = this.lanes.get(model) ?? this.#makeLane(model);
    this.lanes.set(model, lane);
    return lane;
  }

  hold(line: HeldLine): void {
    this.#count++;
    this.#bytes += line.weight;
    this.lane(line.call.model).ready.push(line);
  }

  /** The line is finished, or left for another turn. */
  letGo(line: HeldLine): void {
    line.isOver = true;
    this.#count--;
    this.#bytes -= line.weight;
  }

  /** Lines that could be sent now or in a moment, were there places in flight. */
  readyCount(now: number): number {
    let count = 0;
    for (const lane of this.lanes.values()) if (lane.opensAt(now) <= now + SOON_MS) count += lane.ready.length;
    return count;
  }

  /**
   * Lines that find a place in flight now or in a moment, as far as the windows of their models go; none of a model whose
   * calls are planned ahead, since it wants to know of more.
   */
  sendableCount(now: number): number {
    let count = 0;
    for (const { ready, window, opensAt, plansAhead } of this.lanes.values())
      if (!plansAhead && opensAt(now) <= now + SOON_MS)
        count += Math.max(0, Math.min(ready.length, window.size - window.inFlight));
    return count;
  }

  /** Lines wait for something that is being found out in a store: its end wakes the turn. */
  isLearning(now: number): boolean {
    for (const lane of this.lanes.values())
      if (lane.ready.length > 0 && lane.opensAt(now) === Number.POSITIVE_INFINITY) return true;
    return false;
  }

  /** Why no line of any of these models can succeed, where that is so. */
  rejectionOfAll(models: readonly string[], isSure: (rejection: Rejection) => boolean): Rejection | undefined {
    const rejections = models.map((model) => this.lanes.get(model)?.rejected);
    return rejections.every((rejection) => rejection && isSure(rejection)) ? rejections[0] : undefined;
  }

  backOff(line: HeldLine, until: number): void {
    line.readyAt = until;
    this.#waiting.push(line);
    this.#nextReadyAt = Math.min(this.#nextReadyAt, until);
  }

  /** Lines whose back-off is over go before those that had no try yet. */
  wake(now: number): void {
    if (now < this.#nextReadyAt) return;
    const due = this.#waiting.filter((line) => line.readyAt <= now).sort((a, b) => b.readyAt - a.readyAt);
    this.#waiting = this.#waiting.filter((line) => line.readyAt > now);
    for (const line of due) this.lane(line.call.model).ready.unshift(line);
    this.#nextReadyAt = this.#waiting.reduce((least, line) => Math.min(least, line.readyAt), Number.POSITIVE_INFINITY);
  }

  /** When the next line can be sent, as far as pauses and back-offs go. */
  nextSendAt(now: number): number {
    let at = this.#nextReadyAt;
    for (const lane of this.lanes.values()) {
      const opensAt = lane.opensAt(now);
      if (lane.ready.length > 0 && opensAt > now) at = Math.min(at, opensAt);
    }
    return at;
  }

  /** Takes out every line that is not in flight and has failed before. */
  takeTried(): HeldLine[] {
    const tried = this.#waiting;
    this.#waiting = [];
    this.#nextReadyAt = Number.POSITIVE_INFINITY;
    for (const lane of this.lanes.values()) {
      const untried: HeldLine[] = [];
      for (const line of lane.ready.splice(0)) (line.failure ? tried : untried).push(line);
      lane.ready.push(...untried);
    }
    return tried;
  }
}
