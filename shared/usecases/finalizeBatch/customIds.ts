import type { InputFile } from '../../domain/batch.ts';
import { customIdOf } from '../../domain/lines/customId.ts';
import { type PhysicalLine, readLines } from '../../domain/lines/lineReader.ts';
import type { ShardRange } from '../../domain/shard.ts';
import { FileChanged, FileMissing, type Ports } from '../../ports.ts';

/** Reads the `custom_id`s of lines that have no result from the shard's range of the input, again and in order. */
export class CustomIds {
  readonly #deps: Pick<Ports, 'files' | 'log'>;
  readonly #input: InputFile | undefined;
  readonly #range: ShardRange;
  readonly #maxLineBytes: number;
  #lines: AsyncGenerator<PhysicalLine, void, undefined> | undefined;
  #ended = false;

  constructor(
    deps: Pick<Ports, 'files' | 'log'>,
    input: InputFile | undefined,
    range: ShardRange,
    options: { maxLineBytes: number },
  ) {
    this.#deps = deps;
    this.#input = input;
    this.#range = range;
    this.#maxLineBytes = options.maxLineBytes;
  }

  /** The line's id; calls go up in line. Null where the input can no longer be read: the line is still accounted for. */
  async at(line: number): Promise<string | null> {
    try {
      while (!this.#ended) {
        this.#lines ??= await this.#open();
        const next = await this.#lines.next();
        if (next.done) this.#ended = true;
        else if (next.value.line === line) return customIdOf(next.value.content);
        else if (next.value.line > line) throw new Error(`Line ${line} is blank in the input, but is in the plan`);
      }
    } catch (error) {
      if (!(error instanceof FileChanged || error instanceof FileMissing)) throw error;
      this.#ended = true;
      this.#deps.log.error('The input is gone: lines that were not run are named by number', {
        shard: this.#range.shard,
      });
    }
    return null;
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#lines?.return();
  }

  async #open(): Promise<AsyncGenerator<PhysicalLine, void, undefined>> {
    const { start, end, firstLine } = this.#range;
    if (!this.#input) throw new FileMissing('The batch has no input');
    const { key, etag } = this.#input;
    const bytes = await this.#deps.files.read(key, { start, end, ifMatch: etag });
    return readLines(bytes, { start, firstLine, maxLineBytes: this.#maxLineBytes });
  }
}
