import { encodeSegment, type SegmentEntry, segmentTexts } from '../../domain/lines/segment.ts';
import type { LineResult } from './prepareLine.ts';
import { ResultMemory } from './resultMemory.ts';

type Entry = SegmentEntry & Pick<LineResult, 'error'>;
/** Of a result whose bytes are in a segment. */
export type TakenResult = Omit<Entry, 'bytes'>;

/** Results that wait for their commit. */
export class PendingResults {
  #entries: Entry[] = [];
  #memory = new ResultMemory();
  #bytes = 0;

  get count(): number {
    return this.#entries.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add({ line, file, json, error }: LineResult): void {
    const bytes = this.#memory.write(segmentTexts(line, file, json));
    this.#entries.push({ line, file, bytes, ...(error ? { error } : {}) });
    this.#bytes += bytes.length;
  }

  /**
   * The oldest of them as a segment, `mostBytes` or one more line of them: answers of megabytes that came while a commit
   * was under way would else be in memory twice, all at once. The rest waits on.
   */
  take(mostBytes: number): { results: readonly TakenResult[]; body: Buffer } {
    let count = 0;
    let bytes = 0;
    while (count < this.#entries.length && bytes < mostBytes) bytes += this.#entries[count++]?.bytes.length ?? 0;
    this.#bytes -= bytes;
    const results = this.#entries.splice(0, count);
    const body = encodeSegment(results);
    // Those that stay behind lie in the same memory: then it is left to the collector.
    if (this.#entries.length === 0) this.#memory.free();
    else this.#memory = new ResultMemory();
    return { results, body };
  }
}
