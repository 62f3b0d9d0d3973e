import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BATCH_STATUSES, isEnded } from '../../shared/domain/batchStatus.ts';
import { decideOutcome, type GatheringFacts } from '../../shared/domain/outcome.ts';

const facts: GatheringFacts = {
  status: 'in_progress',
  standing: undefined,
  control: { action: 'run', deadline: 1_000 },
  allDone: false,
  deadline: 1_000,
  now: 999,
};
const stop = (reason: 'cancelled' | 'expired' | 'failed') => ({ action: 'stop', reason, deadline: 1_000 }) as const;
const kindOf = (some: Partial<GatheringFacts>) => decideOutcome({ ...facts, ...some })?.kind;
const standing = (kind: 'completed' | 'failed' | 'expired' | 'cancelled') => ({ kind, reason: 'before', fixedAt: 1 });

describe('the outcome of a batch', () => {
  test.each<[string, Partial<GatheringFacts>, string | undefined]>([
    ['there is none while lines are left and time remains', {}, undefined],
    ['completed, all lines done', { allDone: true }, 'completed'],
    ['completed, even when late', { allDone: true, now: 5_000 }, 'completed'],
    ['completed, even when stopped for being late', { allDone: true, control: stop('expired') }, 'completed'],
    [
      'expired, not completed, while validating: a plan of bad lines has no line to do',
      { status: 'validating', allDone: true, now: 1_000 },
      'expired',
    ],
    ['none while validating, though nothing is left to do', { status: 'validating', allDone: true }, undefined],
    ['expired at the deadline', { now: 1_000 }, 'expired'],
    ['expired where the check says so', { control: stop('expired') }, 'expired'],
    ['failed where that stopped it', { control: stop('failed'), allDone: true }, 'failed'],
    ['cancelled where that stopped it', { control: stop('cancelled'), allDone: true }, 'cancelled'],
    ['cancelled where it is being cancelled', { status: 'cancelling', now: 5_000 }, 'cancelled'],
    ['what stands', { standing: standing('failed'), allDone: true, now: 5_000 }, 'failed'],
    ['cancelled over what stands', { standing: standing('completed'), status: 'cancelling' }, 'cancelled'],
  ])('is %s', (_, some, kind) => {
    expect(kindOf(some)).toBe(kind);
  });

  test('once there is a reason it does not go away, as time passes and lines are done', () => {
    const arbitrary = fc.record({
      status: fc.constantFrom(...BATCH_STATUSES.filter((status) => !isEnded(status))),
      control: fc.constantFrom(facts.control, stop('cancelled'), stop('expired'), stop('failed')),
      allDone: fc.boolean(),
      now: fc.nat(2_000),
    });
    fc.assert(
      fc.property(arbitrary, fc.nat(5_000), (some, passed) => {
        const before = decideOutcome({ ...facts, ...some });
        const after = decideOutcome({ ...facts, ...some, now: some.now + passed });
        if (before) expect(after?.kind).toBe(before.kind);
      }),
    );
  });
});
