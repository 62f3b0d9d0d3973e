/**
 * The ports of a process that is frozen before its `calls + 1`st call of those named, as a sandbox may be between two
 * invocations, and that goes on, none the wiser, once it is thawed.
 */
export function frozenPorts<D extends Record<string, unknown>>(
  deps: D,
  frozen: readonly (keyof D)[],
  calls: number,
): { deps: D; reached: Promise<void>; thaw: () => void } {
  const reached = Promise.withResolvers<void>();
  const thawed = Promise.withResolvers<void>();
  let made = 0;
  async function pass(): Promise<void> {
    if (made++ !== calls) return;
    reached.resolve();
    await thawed.promise;
  }
  const freezing = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, name, receiver) {
        const method: unknown = Reflect.get(target, name, receiver);
        if (typeof method !== 'function') return method;
        return (...args: unknown[]) => {
          // Streams of records: `list` of shards is the only method that answers no promise.
          if (name === 'list') return stream(() => Reflect.apply(method, target, args) as AsyncIterable<unknown>);
          return pass().then(async () => {
            const answer: unknown = await Reflect.apply(method, target, args);
            const isUpload = typeof answer === 'object' && answer !== null && 'suspend' in answer;
            return isUpload ? freezing(answer) : answer;
          });
        };
      },
    });
  async function* stream(open: () => AsyncIterable<unknown>) {
    await pass();
    yield* open();
  }
  const changed = frozen.map((name) => [name, freezing(deps[name] as object)]);
  return { deps: { ...deps, ...Object.fromEntries(changed) }, reached: reached.promise, thaw: thawed.resolve };
}
