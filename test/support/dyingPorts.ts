/** The process is gone: what it asks for from now on does not happen. */
export class ProcessDied extends Error {
  override readonly name = 'ProcessDied';
}

/**
 * The ports of a process that dies after `calls` calls of those named: the next one does nothing and throws, as does every
 * one after it. `made` tells how many calls were made, and so how many steps there are to die after.
 */
export function dyingPorts<D extends Record<string, unknown>>(
  deps: D,
  mortal: readonly (keyof D)[],
  calls: number,
): { deps: D; made: () => number } {
  let made = 0;
  const dying = (port: object) =>
    new Proxy(port, {
      get(target, name, receiver) {
        const method: unknown = Reflect.get(target, name, receiver);
        if (typeof method !== 'function') return method;
        return (...args: unknown[]) => {
          if (made >= calls) throw new ProcessDied(`It died after ${calls} calls`);
          made++;
          return method.apply(target, args) as unknown;
        };
      },
    });
  const changed = mortal.map((name) => [name, dying(deps[name] as object)]);
  return { deps: { ...deps, ...Object.fromEntries(changed) }, made: () => made };
}
