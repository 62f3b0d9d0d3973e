import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { alternately, type FigureGroup, median, ratioOf } from '../measured.ts';
import { startBenchProcess } from '../processes/benchProcess.ts';
import type { ValidationAnswer, ValidationQuestion } from '../processes/validation.ts';
import { requestLines } from '../requestLines.ts';

const LINES = 100_000;
const LINE_BYTES = 1_000;
const MB = 1e6;
/** Until the compiler has seen all there is. */
const WARM_UP_TURNS = 3;

/** The pass of Validate, with every check and the search for duplicates, beside reading and parsing alone. */
export const validate: FigureGroup = {
  ids: ['validate'],
  async measure({ repeats, say }) {
    say('validate: 100 MB, against read + split + JSON.parse');
    const dir = await mkdtemp(join(tmpdir(), 'batch-api-bench-'));
    const file = join(dir, 'input.jsonl');
    const lines = Readable.from(requestLines({ lines: LINES, lineBytes: LINE_BYTES }));
    await pipeline(lines, createWriteStream(file));
    const megabytes = (await stat(file)).size / MB;
    const process = await startBenchProcess<ValidationQuestion, ValidationAnswer>(
      new URL('../processes/validation.ts', import.meta.url),
      { execArgv: ['--expose-gc'] },
    );
    try {
      const speed = async (how: ValidationQuestion['how']) => {
        const answer = await process.ask({ file, how });
        if (answer.lines !== LINES) throw new Error(`${answer.lines} lines of ${LINES} were read`);
        return megabytes / answer.seconds;
      };
      await alternately(
        WARM_UP_TURNS,
        () => speed('validate'),
        () => speed('parse'),
      );
      // A turn takes half a second: many are cheap.
      const turns = 5 * repeats;
      const { ours, theirs } = await alternately(
        turns,
        () => speed('validate'),
        () => speed('parse'),
      );
      const note = `${median(ours).toFixed(0)} of ${median(theirs).toFixed(0)} MB/s`;
      return { validate: ratioOf(ours, theirs, note) };
    } finally {
      await process.close();
      await rm(dir, { recursive: true });
    }
  },
};
