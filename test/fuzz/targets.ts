import type { Target } from './target.ts';
import { answers } from './targets/answers.ts';
import { lines } from './targets/lines.ts';
import { requests } from './targets/requests.ts';
import { tokens } from './targets/tokens.ts';

/** Everything that takes input from outside, by name. Each has a folder of that name in `corpus/`. */
export const TARGETS = { lines, answers, requests, tokens } as const satisfies Record<
  string,
  () => Target | Promise<Target>
>;
export type TargetName = keyof typeof TARGETS;
export const TARGET_NAMES = Object.keys(TARGETS) as TargetName[];
