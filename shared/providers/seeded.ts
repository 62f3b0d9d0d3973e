import { hash } from 'node:crypto';

/** Numbers in [0, 1) that are the same for the same seed: mulberry32 over the first 32 bits of a SHA-256. */
export function seededNumbers(seed: string): () => number {
  let state = Number.parseInt(hash('sha256', seed, 'hex').slice(0, 8), 16);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A vector of length 1 in a direction that depends on the seed alone; six digits keep its JSON short. */
export function seededUnitVector(seed: string, dimensions: number): number[] {
  const next = seededNumbers(seed);
  const raw = Array.from({ length: dimensions }, () => {
    // Box-Muller: normally distributed components give directions without a preference.
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    return radius * Math.cos(2 * Math.PI * next());
  });
  const norm = Math.hypot(...raw) || 1;
  return raw.map((component) => Math.round((component / norm) * 1e6) / 1e6);
}
