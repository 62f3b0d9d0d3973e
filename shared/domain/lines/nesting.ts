/** JSON.stringify overflows the stack somewhere above 3,000 levels (tried on Node 24); no request needs this many. */
export const MAX_DEPTH = 500;

/** Breadth first, so that no nesting overflows the stack. */
export function isDeeperThan(value: object, limit: number): boolean {
  let level: object[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === limit) return true;
    const below: object[] = [];
    for (const node of level)
      for (const child of Array.isArray(node) ? node : Object.values(node))
        if (typeof child === 'object' && child !== null) below.push(child);
    level = below;
  }
  return false;
}
