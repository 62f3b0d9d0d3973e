import { type BatchError, MAX_BATCH_ERRORS } from '../../domain/batch.ts';
import { describeProblems, type LineProblem } from '../../domain/lines/lineProblem.ts';
import { errorLine } from '../../domain/lines/resultLine.ts';
import { encodeSegment, type SegmentEntry, segmentEntry } from '../../domain/lines/segment.ts';
import type { FileStore, FileUpload } from '../../ports.ts';

/** Entries are handed to the upload in groups of so many: each is about 300 bytes. */
const GROUP = 500;

export type InvalidLine = { line: number; customId: string | null; problems: LineProblem[] };

/**
 * The bad lines of an input: streamed into a segment of ready errors-file lines, and the first of them kept for the
 * batch's record. Lines are added in the file's order. Nothing is written where there is none.
 */
export class InvalidLines {
  readonly #files: FileStore;
  readonly #key: string;
  readonly #batchId: string;
  readonly #first: BatchError[] = [];
  #group: SegmentEntry[] = [];
  #upload: FileUpload | undefined;
  #count = 0;

  constructor(files: FileStore, key: string, batchId: string) {
    this.#files = files;
    this.#key = key;
    this.#batchId = batchId;
  }

  get count(): number {
    return this.#count;
  }

  /** The first `MAX_BATCH_ERRORS` of them, one entry a line. */
  get first(): BatchError[] {
    return this.#first;
  }

  /** Whether `flush` has enough to do. */
  get isFull(): boolean {
    return this.#group.length >= GROUP;
  }

  add({ line, customId, problems }: InvalidLine): void {
    const [problem] = problems;
    if (problem === undefined) return;
    const { code, param } = problem;
    const message = describeProblems(problems);
    this.#count++;
    if (this.#first.length < MAX_BATCH_ERRORS) this.#first.push({ code, line, message, param });
    const json = errorLine(this.#batchId, { line, customId, error: { code, message }, attempts: 0 });
    this.#group.push(segmentEntry(line, 'e', json));
  }

  async flush(): Promise<void> {
    if (this.#group.length === 0) return;
    this.#upload ??= await this.#files.upload(this.#key);
    await this.#upload.write(encodeSegment(this.#group));
    this.#group = [];
  }

  /** Undefined where there was no bad line. */
  async complete(): Promise<{ key: string; bytes: number; lines: number } | undefined> {
    await this.flush();
    if (this.#upload === undefined) return undefined;
    const { bytes } = await this.#upload.complete();
    return { key: this.#key, bytes, lines: this.#count };
  }

  async abort(): Promise<void> {
    await this.#upload?.abort();
  }
}
