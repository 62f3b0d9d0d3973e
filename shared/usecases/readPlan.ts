import type { Plan } from '../domain/batch.ts';
import { readLines } from '../domain/lines/lineReader.ts';
import { type ShardRange, ShardRangeSchema } from '../domain/shard.ts';
import type { Ports } from '../ports.ts';

/** A line of the plan is a range and a bitmap of at most 10,000 lines in base64: 1.7 KB. */
const MAX_RANGE_BYTES = 64 * 1024;

/** The shards that Validate laid down, in order. */
export async function* readPlan(deps: Pick<Ports, 'files'>, plan: Plan): AsyncGenerator<ShardRange, void, undefined> {
  if (plan.shards === 0) return;
  for await (const { content } of readLines(await deps.files.read(plan.key), { maxLineBytes: MAX_RANGE_BYTES })) {
    yield ShardRangeSchema.parse(JSON.parse(content.toString()));
  }
}
