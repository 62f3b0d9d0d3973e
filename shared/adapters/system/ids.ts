import { randomBytes } from 'node:crypto';
import { monotonicFactory } from 'ulid';
import type { Ids } from '../../ports.ts';

/** Monotonic: ids that one process makes in the same millisecond sort in the order they were made. */
const nextUlid = monotonicFactory();

export const systemIds: Ids = {
  ulid: () => nextUlid(),
  secretBytes: (count) => new Uint8Array(randomBytes(count)),
};
