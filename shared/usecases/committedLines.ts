import type { Ports } from '../ports.ts';

/** Lines with a committed result: the exact number, from the shard records (the head's live counts may drift). */
export async function committedLines(deps: Pick<Ports, 'shards'>, batchId: string): Promise<number> {
  let lines = 0;
  for await (const { completed, failed } of deps.shards.list(batchId)) lines += completed + failed;
  return lines;
}
