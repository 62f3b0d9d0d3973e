/** Lets at most `width` through at a time; the others wait in order. */
export type Gate = {
  enter(): Promise<void>;
  leave(): void;
  /** Resolves once nobody is inside. */
  empty(): Promise<void>;
};

export function createGate(width: number): Gate {
  let inside = 0;
  const waiting: (() => void)[] = [];
  const watching: (() => void)[] = [];
  return {
    async enter() {
      if (inside < width) inside += 1;
      // Whoever leaves hands over its place.
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    leave() {
      const next = waiting.shift();
      if (next) return next();
      inside -= 1;
      if (inside === 0) for (const resolve of watching.splice(0)) resolve();
    },
    async empty() {
      if (inside > 0) await new Promise<void>((resolve) => watching.push(resolve));
    },
  };
}
