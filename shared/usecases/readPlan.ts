import type { Plan } from '../domain/batch.ts';
import { readLines } from '../domain/lines/lineReader.ts';
import { type ShardRange, ShardRangeSchema } from '../domain/shard.ts';
import type { Ports } from '../ports.ts';

/** A line of the plan is a range and a bitmap of at most 25,000 lines in base64: 4.2 KB. */
const MAX_RANGE_BYTES = 64 * 1024;

/** The shards that Validate laid down, in order. Throws where the file does not hold all of them. */
export async function* readPlan(deps: Pick<Ports, 'files'>, plan: Plan): AsyncGenerator<ShardRange, void, undefined> {
  if (plan.shards === 0) return;
  let shards = 0;
  for await (const { content, line } of readLines(await deps.files.read(plan.key), { maxLineBytes: MAX_RANGE_BYTES })) {
    if (content === 'too_long') throw new Error(`Line ${line} of ${plan.key} is not a shard's`);
    shards++;
    yield ShardRangeSchema.parse(JSON.parse(content.toString()));
  }
  if (shards !== plan.shards) throw new Error(`${plan.key} has ${shards} shards, not ${plan.shards}`);
}
