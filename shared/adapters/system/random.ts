import type { Random } from '../../ports.ts';

/** For jitter and spreading; secrets come from `Ids.secretBytes`. */
export const systemRandom: Random = { next: () => Math.random() };
