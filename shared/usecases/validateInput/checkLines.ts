import { createHash } from 'node:crypto';
import { type BatchHead, type InputFile, MAX_PLAN_MODELS } from '../../domain/batch.ts';
import { SeenIds } from '../../domain/duplicateIds.ts';
import { InputRejected } from '../../domain/errors.ts';
import { modelOfLine } from '../../domain/lineMapping.ts';
import { customIdOf } from '../../domain/lines/customId.ts';
import type { FailedLines } from '../../domain/lines/lineIndex.ts';
import { looksLikeHtml } from '../../domain/lines/lineJson.ts';
import { quote } from '../../domain/lines/lineProblem.ts';
import { LineReader, type PhysicalLine } from '../../domain/lines/lineReader.ts';
import { LineTable } from '../../domain/lines/lineTable.ts';
import { type CheckedLine, checkBlock, type LineContext } from '../../domain/lines/requestLine.ts';
import type { ModelsFile } from '../../domain/models.ts';
import { FileChanged, FileMissing, type FileStore } from '../../ports.ts';
import type { InvalidLine, InvalidLines } from './invalidLines.ts';

/** `models`: those that the good lines call, unless they are many. */
export type CheckedInput = { lines: LineTable; models: string[] | undefined; sha256: string };

type Limits = { inputLines: number; lineBytes: number };
type Checker = {
  files: FileStore;
  models: ModelsFile;
  limits: Limits;
  /** A retry: only these are checked, the others are left out. */
  only?: FailedLines | undefined;
};

/** A page of HTML shows within its first line; a line can have 10 MB. */
const HTML_SAMPLE_BYTES = 1_024;

/**
 * The one pass over the input: every line checked, ids compared, bytes hashed. Bad lines go to `invalid`; what makes
 * the whole file unusable is thrown as `InputRejected`. `stopped` is asked at every chunk.
 *
 * 5 GB take minutes (FACTS: 290–400 MB/s a core with the ids), so there is no checkpoint: it fits one invocation.
 */
export async function checkLines(
  { files, models, limits, only }: Checker,
  head: Pick<BatchHead, 'type'>,
  input: InputFile,
  invalid: InvalidLines,
  stopped: () => Promise<boolean>,
): Promise<CheckedInput | 'stopped'> {
  const reader = new LineReader({ maxLineBytes: limits.lineBytes });
  const context = { type: head.type, models, maxLineBytes: limits.lineBytes };
  const check = new LineCheck(context, { maxLines: limits.inputLines, only });
  const sha256 = createHash('sha256');
  const takeAll = async (lines: readonly PhysicalLine[]) => {
    for (const bad of check.take(lines)) {
      invalid.add(bad);
      if (invalid.isFull) await invalid.flush();
    }
  };
  try {
    for await (const chunk of await files.read(input.key, { ifMatch: input.etag, passing: true })) {
      sha256.update(chunk);
      for (const lines of reader.pushBlocks(chunk)) await takeAll(lines);
      if (await stopped()) return 'stopped';
    }
  } catch (error) {
    if (error instanceof FileChanged || error instanceof FileMissing)
      throw new InputRejected('input_file_changed', 'The input file was changed or deleted after it was accepted.', {
        cause: error,
      });
    throw error;
  }
  await takeAll([...reader.end()]);
  if (check.lines.size === 0)
    throw new InputRejected('empty_file', 'The input file is empty: it has no line that is not blank.');
  return { lines: check.lines, models: check.models, sha256: sha256.digest('hex') };
}

/** What has to be known of the lines before to check the next one. */
class LineCheck {
  /**
   * One of each kind of object that a pass makes, empty. With the last object of a shape V8 drops all code that it has
   * compiled for it: without these a warm function would begin each batch in the interpreter. Static fields, since of a
   * constant that nobody reads a bundler keeps nothing.
   */
  static readonly reader = new LineReader({ maxLineBytes: 1 });
  static readonly shapes = [
    // The file's first line is read on its own, the second with its block.
    ...LineCheck.reader.push(Buffer.from('1\n2\n')),
    new LineCheck(
      { type: 'COMPLETIONS', models: { providers: {}, models: {}, agents: {} }, maxLineBytes: 1 },
      { maxLines: 1, only: undefined },
    ),
  ];

  readonly lines = new LineTable();
  readonly #seen = new SeenIds();
  readonly #maxLines: number;
  readonly #only: FailedLines | undefined;
  readonly #models = new Set<string>();
  #context: LineContext;

  constructor(context: LineContext, { maxLines, only }: { maxLines: number; only: FailedLines | undefined }) {
    this.#context = context;
    this.#maxLines = maxLines;
    this.#only = only;
  }

  get models(): string[] | undefined {
    return this.#models.size > MAX_PLAN_MODELS ? undefined : [...this.#models].sort();
  }

  #callsModel(model: string | undefined): void {
    // One more than are named says that they are many.
    if (model !== undefined && this.#models.size <= MAX_PLAN_MODELS) this.#models.add(model);
  }

  /** The bad ones of the lines that come next. */
  *take(lines: readonly PhysicalLine[]): Generator<InvalidLine, void, undefined> {
    const [first] = lines;
    if (first && this.lines.size === 0 && first.content !== 'too_long') {
      const htmlPage = looksLikeHtml(first.content.toString('latin1', 0, HTML_SAMPLE_BYTES));
      this.#context = { ...this.#context, htmlPage };
    }
    const only = this.#only;
    const toCheck = only ? lines.filter(({ line }) => only.has(line)) : lines;
    const checked = checkBlock(toCheck, this.#context);
    let next = 0;
    for (const line of lines) {
      if (this.lines.size === this.#maxLines)
        throw new InputRejected(
          'too_many_lines',
          `The input file has more than the ${this.#maxLines} lines that are allowed: line ${line.line} is one too many. Cut the file into several batches, which run side by side.`,
        );
      const found = toCheck[next] === line ? checked[next++] : undefined;
      const bad = found ? this.#add(line, found) : this.#leaveOut(line);
      if (bad) yield bad;
    }
  }

  /** A line that a retry does not run. Its id stays taken, so that what was a duplicate is one again. */
  #leaveOut(line: PhysicalLine): undefined {
    const taken = customIdOf(line.content);
    if (taken !== null) this.#seen.add(taken, this.lines.size);
    this.lines.leaveOut(line);
  }

  /** Undefined where the line is good. */
  #add(line: PhysicalLine, checked: CheckedLine): InvalidLine | undefined {
    const problems = checked.ok ? [] : checked.problems;
    const customId = checked.ok ? checked.request.customId : checked.customId;
    const first = customId === null ? undefined : this.#seen.add(customId, this.lines.size);
    if (customId !== null && first !== undefined)
      problems.push({
        code: 'duplicate_custom_id',
        param: 'custom_id',
        message: `custom_id ${quote(customId)} is taken: line ${this.lines.line(first)} has it, too.`,
      });
    const bad = problems.length > 0;
    if (checked.ok && !bad) this.#callsModel(modelOfLine(checked.request, this.#context.models));
    this.lines.add(line, bad);
    // An id that another line has names nothing: with it the two lines' results could not be told apart.
    return bad ? { line: line.line, customId: first === undefined ? customId : null, problems } : undefined;
  }
}
