/**
 * The values in a JSON text by their place, each number as it is written: what must be the same in two texts that say the
 * same. By JSON.parse's own access to the source, so that nothing of the product judges itself.
 */
export function jsonTokens(text: string): Map<string, string> {
  const tokens = new Map<string, string>();
  const sources = new WeakMap<object, Map<string, string>>();
  // `lib` does not know the third argument yet (TC39 "JSON.parse source text access", in V8 since 11.4).
  const parse = JSON.parse as (
    text: string,
    reviver: (this: object, key: string, value: unknown, context: { source?: string }) => unknown,
  ) => unknown;
  const value = parse(text, function (key, member, { source }) {
    if (typeof member === 'number' && source !== undefined) {
      const known = sources.get(this) ?? new Map<string, string>();
      sources.set(this, known.set(key, source));
    }
    return member;
  });
  const walk = (node: unknown, path: string, holder: object | undefined, key: string) => {
    if (typeof node === 'object' && node !== null) {
      tokens.set(path, Array.isArray(node) ? '[' : '{');
      for (const name of Object.keys(node))
        walk(Reflect.get(node, name), `${path}/${JSON.stringify(name)}`, node, name);
    } else if (typeof node === 'number') tokens.set(path, (holder && sources.get(holder)?.get(key)) ?? String(node));
    else tokens.set(path, JSON.stringify(node));
  };
  walk(value, '', undefined, '');
  return tokens;
}
