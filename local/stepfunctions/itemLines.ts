import { createReadStream } from 'node:fs';

const LINE_FEED = 0x0a;
// https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: an item is at most 8 MB.
const MAX_ITEM_BYTES = 8 * 1024 * 1024;

/** The lines of a JSONL file that are not blank, one at a time. */
export async function* readLines(file: string): AsyncGenerator<string> {
  let begun: Buffer[] = [];
  let begunBytes = 0;
  const line = (end: Buffer): string => {
    const text = Buffer.concat([...begun, end])
      .toString('utf8')
      .trim();
    begun = [];
    begunBytes = 0;
    return text;
  };
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      const text = line(chunk.subarray(from, at));
      if (text !== '') yield text;
      from = at + 1;
    }
    begun.push(chunk.subarray(from));
    begunBytes += chunk.length - from;
    if (begunBytes > MAX_ITEM_BYTES) throw new Error(`An item is over ${MAX_ITEM_BYTES} bytes.`);
  }
  const last = line(Buffer.alloc(0));
  if (last !== '') yield last;
}

/** How many lines `readLines` finds. */
export async function countLines(file: string): Promise<number> {
  let count = 0;
  for await (const _ of readLines(file)) count += 1;
  return count;
}
