/**
 * JSON as it is written, read by a parser that shares nothing with the product: numbers keep their text, strings are
 * their UTF-16 units, and of a name that comes twice the last counts. The text is one that JSON.parse takes.
 */
export type Node =
  | { kind: 'object'; members: Map<string, Node>; text: string }
  | { kind: 'array'; items: Node[]; text: string }
  | { kind: 'string'; value: string; text: string }
  | { kind: 'other'; text: string };

const TOKEN = /[\t\n\r ]*("(?:[^"\\]|\\.)*"|[[\]{},:]|[^\t\n\r ,:[\]{}"]+)/y;

export function parseJson(text: string): Node {
  TOKEN.lastIndex = 0;
  let from = 0;
  let token = '';
  const is = (wanted: string) => token === wanted;
  const next = () => {
    const found = TOKEN.exec(text)?.[1];
    if (found === undefined) throw new Error('The text ends too soon');
    from = TOKEN.lastIndex - found.length;
    token = found;
  };
  const value = (): Node => {
    const start = from;
    const whole = () => text.slice(start, TOKEN.lastIndex);
    if (is('[')) {
      const items: Node[] = [];
      for (next(); !is(']'); next()) {
        if (is(',')) next();
        items.push(value());
      }
      return { kind: 'array', items, text: whole() };
    }
    if (is('{')) {
      const members = new Map<string, Node>();
      for (next(); !is('}'); next()) {
        if (is(',')) next();
        const name = JSON.parse(token) as string;
        next();
        next();
        members.set(name, value());
      }
      return { kind: 'object', members, text: whole() };
    }
    return token.startsWith('"')
      ? { kind: 'string', value: JSON.parse(token) as string, text: token }
      : { kind: 'other', text: token };
  };
  next();
  return value();
}

/** Equal but for white space, escapes in strings and the order of members; numbers are equal as texts only. */
export function canonical(node: Node): string {
  switch (node.kind) {
    case 'object': {
      const members = [...node.members].toSorted(([a], [b]) => (a < b ? -1 : 1));
      return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
    }
    case 'array':
      return `[${node.items.map(canonical).join(',')}]`;
    case 'string':
      return JSON.stringify(node.value);
    case 'other':
      return node.text;
  }
}

export function member(node: Node | undefined, ...path: string[]): Node | undefined {
  let at = node;
  for (const name of path) at = at?.kind === 'object' ? at.members.get(name) : undefined;
  return at;
}
