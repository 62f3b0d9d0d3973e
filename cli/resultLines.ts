import { existsSync } from 'node:fs';
import * as z from 'zod';
import { readLines } from '../shared/domain/lines/lineReader.ts';
import { unpacked } from './inputFile.ts';

/** What is read of a line of `output.jsonl` or `errors.jsonl`. */
export type ResultLine = {
  /** 1-based, in its file. */
  place: number;
  id: string;
  customId: string | null;
  /** Of the input; lines of errors.jsonl have it. */
  line: number | undefined;
  /** Why it is no result line; then the rest means nothing. */
  problem?: string;
};

const LineSchema = z.object({ id: z.string(), custom_id: z.string().nullable(), line: z.int().positive().optional() });

// An answer of 10 MB (the default limit of a stage) is up to six times as long where every character is escaped.
export const MAX_LINE_BYTES = 256 * 1024 * 1024;

/** Lines of a result file in its order; none where the file is not there. */
export async function* readResultLines(path: string): AsyncGenerator<ResultLine, void, undefined> {
  if (!existsSync(path)) return;
  for await (const { line: place, content } of readLines(unpacked(path), { maxLineBytes: MAX_LINE_BYTES })) {
    const parsed = content === 'too_long' ? undefined : LineSchema.safeParse(parseJson(content));
    if (parsed?.success) {
      const { id, custom_id, line } = parsed.data;
      yield { place, id, customId: custom_id, line };
    } else yield { place, id: '', customId: null, line: undefined, problem: 'is no result line' };
  }
}

/** The value of a line of JSON; undefined where it is none. */
export function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
