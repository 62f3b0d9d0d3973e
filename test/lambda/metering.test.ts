import { expect, test } from 'vitest';
import { meteredHandler } from '../../shared/lambda/metering.ts';

test('nothing is metered where no stage asks for it', () => {
  const handler = async () => undefined;
  expect(meteredHandler({ function: 'planShards', kind: 'step' }, handler)).toBe(handler);
});
