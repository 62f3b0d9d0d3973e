/** A stream of chances that is the same for the same seed. */
export type Random = {
  /** Uniform in [0, 1). */
  next(): number;
  /** A whole number from `least` to `most`, both included. */
  int(least: number, most: number): number;
  chance(share: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** By weight: `{ common: 9, rare: 1 }`. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K;
  /** A stream of its own for what goes on beside others: what they draw does not change what it draws. */
  fork(name: string): Random;
};

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  // mulberry32: https://gist.github.com/tommyettinger/46a874533244883189143505d203312c
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const random: Random = {
    next,
    int: (least, most) => least + Math.floor(next() * (most - least + 1)),
    chance: (share) => next() < share,
    pick(from) {
      const picked = from[Math.floor(next() * from.length)];
      if (picked === undefined) throw new Error('There is nothing to pick from');
      return picked;
    },
    weighted(weights) {
      // Keys of a record with these keys.
      const entries = Object.entries(weights) as [keyof typeof weights, number][];
      let left = next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [key, weight] of entries) {
        left -= weight;
        if (left < 0) return key;
      }
      return random.pick(entries)[0];
    },
    fork: (name) =>
      seededRandom([...name].reduce((mix, char) => Math.imul(mix ^ char.charCodeAt(0), 16_777_619), seed)),
  };
  return random;
}
