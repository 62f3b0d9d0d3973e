import type { LineCall } from '../../domain/lineMapping.ts';

type Call = Extract<LineCall, { kind: 'call' }>;

/** What an answer is taken for until larger ones were seen; and how fast large ones are forgotten. */
const LEAST_ANSWER_BYTES = 16 * 1024;
const PEAK_DECAY = 0.98;
/** A vector until one was seen: 4,096 numbers of 24 characters, which only the largest models' are. */
const FIRST_VECTOR_BYTES = 96 * 1024;
/** The answer's bytes and the result made of them are there at once. */
const COPIES_OF_AN_ANSWER = 2;

/**
 * How many bytes of memory the answer to a call will take, as far as can be told: about the largest of late. Embeddings
 * are told by the number of their inputs, since a line may ask for one vector or for thousands.
 */
export class AnswerSizes {
  readonly #maxAnswerBytes: number;
  /** The largest of late, for each input of a call. */
  readonly #peaks = new Map<string, number>();

  readonly #expectLargest: boolean;

  /** `expectLargest`: an answer is taken for the largest that may come, until others were seen. */
  constructor(maxAnswerBytes: number, expectLargest: boolean) {
    this.#maxAnswerBytes = maxAnswerBytes;
    this.#expectLargest = expectLargest;
  }

  expected(call: Call): number {
    const least = call.endpoint === 'embeddings' ? FIRST_VECTOR_BYTES : LEAST_ANSWER_BYTES;
    const peak = this.#peaks.get(call.model) ?? (this.#expectLargest ? this.#maxAnswerBytes : least);
    return Math.ceil(Math.min(this.#maxAnswerBytes, peak * inputsOf(call)) * COPIES_OF_AN_ANSWER);
  }

  saw(call: Call, bytes: number): void {
    const decayed = (this.#peaks.get(call.model) ?? (this.#expectLargest ? this.#maxAnswerBytes : 0)) * PEAK_DECAY;
    const least = call.endpoint === 'embeddings' ? 1 : LEAST_ANSWER_BYTES / COPIES_OF_AN_ANSWER;
    this.#peaks.set(call.model, Math.max(least, bytes / inputsOf(call), decayed));
  }
}

function inputsOf(call: Call): number {
  if (call.endpoint !== 'embeddings') return 1;
  const { input } = call.body;
  // A list of numbers is one text, as tokens.
  return Array.isArray(input) && typeof input[0] !== 'number' ? Math.max(1, input.length) : 1;
}
