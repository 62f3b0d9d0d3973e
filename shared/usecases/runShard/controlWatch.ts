import type { Control } from '../../domain/control.ts';
import type { Ports } from '../../ports.ts';

/**
 * After a stop no call is begun, and those in flight have this long to end: they are paid for either way. Between the
 * moment of the stop and the sealing of the shards lie 15 s (`settleSeconds`): 10 until the slowest worker has seen it
 * (`controlEverySeconds`), these, and 2 for the commit.
 */
const LET_END_MS = 3_000;

const NEVER = Number.POSITIVE_INFINITY;

/** What the batch's control record says of late: whether to stop, and until when calls may begin. */
export class ControlWatch {
  readonly #deps: Pick<Ports, 'controls' | 'clock' | 'log'>;
  readonly #batchId: string;
  readonly #everyMs: number;
  #polling = false;
  #nextPollAt: number;
  stopped = false;
  /** When the calls in flight are called off, once it has stopped. */
  callOffAt = NEVER;
  deadline: number;

  constructor(
    deps: Pick<Ports, 'controls' | 'clock' | 'log'>,
    batchId: string,
    options: { control: Control; everyMs: number },
  ) {
    this.#deps = deps;
    this.#batchId = batchId;
    this.#everyMs = options.everyMs;
    this.#nextPollAt = deps.clock.now() + options.everyMs;
    this.deadline = options.control.deadline;
  }

  /** When the record is to be read next; far away while it is being read. */
  get dueAt(): number {
    return this.#polling ? NEVER : this.#nextPollAt;
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.callOffAt = this.#deps.clock.now() + LET_END_MS;
  }

  /** Never rejects: the next look is near, and stopping a batch does not hang on this one. */
  async poll(): Promise<void> {
    const { controls, clock, log } = this.#deps;
    const batchId = this.#batchId;
    this.#polling = true;
    try {
      const control = await controls.get(batchId);
      if (control?.action === 'stop') this.stop();
      this.deadline = control?.deadline ?? this.deadline;
    } catch (error) {
      log.warn('control not read', { batchId, error });
    }
    this.#polling = false;
    this.#nextPollAt = clock.now() + this.#everyMs;
  }
}
