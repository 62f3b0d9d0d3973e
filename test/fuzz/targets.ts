import type { FuzzTarget } from './target.ts';
import { linesTarget } from './targets/lines.ts';

/** What is fuzzed, by the name that `npm run fuzz -- --target` takes. */
export const TARGETS = {
  lines: async () => linesTarget(),
} as const satisfies Record<string, () => Promise<FuzzTarget>>;

export type TargetName = keyof typeof TARGETS;
