/** Who waits, until when by `performance.now()`, and where it stands in the list. */
export type Waiting = { readonly endsAt: number; placeInLine: number; onTimeout(): void };

/**
 * One timer for all that wait: nearly none of a worker's calls ends by its timeout, and to set and clear a timer for each
 * costs more than the list. It goes off for the earliest end that it has seen, and is then set for the earliest left.
 */
export class Deadlines {
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #goesOffAt = Number.POSITIVE_INFINITY;

  add(one: Waiting): void {
    one.placeInLine = this.#waiting.push(one) - 1;
    if (one.endsAt < this.#goesOffAt) this.#setFor(one.endsAt);
  }

  /** What was added, once. */
  remove(one: Waiting): void {
    const last = this.#waiting.pop();
    if (!last || last === one) return;
    // The last one takes its place.
    last.placeInLine = one.placeInLine;
    this.#waiting[one.placeInLine] = last;
  }

  #setFor(at: number): void {
    clearTimeout(this.#timer);
    this.#goesOffAt = at;
    this.#timer = setTimeout(() => this.#goOff(), Math.ceil(at - performance.now()));
    // It may outlive all that waited; what waits holds the process by its socket.
    this.#timer.unref();
  }

  #goOff(): void {
    this.#goesOffAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (const one of this.#waiting.slice()) {
      if (one.endsAt <= now) one.onTimeout();
      else if (one.endsAt < this.#goesOffAt) this.#goesOffAt = one.endsAt;
    }
    if (this.#goesOffAt !== Number.POSITIVE_INFINITY) this.#setFor(this.#goesOffAt);
  }
}
