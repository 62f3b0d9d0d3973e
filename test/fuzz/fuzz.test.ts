import { describe, expect, it } from 'vitest';
import { fuzz } from './run.ts';
import { TARGETS } from './targets.ts';

const SEED = 1;

describe.each(TARGETS)('the fuzzer on $name', (target) => {
  it('finds nothing in the corpus and what is made of it', async () => {
    const { executions, failure } = await fuzz(target, SEED, (done) => done < target.executions);
    if (failure)
      throw new Error(
        `Input ${failure.execution}: ${JSON.stringify(failure.input.subarray(0, 2_000).toString('latin1'))}`,
        {
          cause: failure.error,
        },
      );
    expect(executions).toBeGreaterThanOrEqual(target.executions);
  });
});
