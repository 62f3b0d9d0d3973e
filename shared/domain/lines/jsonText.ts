/**
 * JSON by its text, for what must go on as it was written. What JavaScript reads may come out another: numbers
 * (12345678901234567890, 1.10, -0), the order of names that are numbers, names that come twice, and names with escapes,
 * which JSON.parse of V8 13.6 takes for others that it has lately seen in such a place (after `{"\\":1}` it reads
 * `{"\n":1}` as `{"\\":1}`). Every text here is one that JSON.parse has taken, so nothing is checked again. Cut text
 * takes no memory of its own; `JSON.rawJSON` would need about 60 bytes for each number of a line of ten megabytes.
 */

/** The text of a good line's `body`. */
export function bodyAsWritten(line: Buffer): string | undefined {
  return memberTexts(line.toString('utf8')).get('body');
}

type Span = { start: number; end: number };

/** The members of an object by name; of a name that comes twice, the last. */
export function memberTexts(object: string): Map<string, string> {
  return new Map(members(object).map(({ name, value }) => [name, object.slice(value.start, value.end)]));
}

/** The elements of an array. */
export function elementTexts(array: string): string[] {
  return parts(array).map(({ start, end }) => array.slice(start, end));
}

/** The object with another value under this name, which it has. */
export function withMember(object: string, name: string, value: string): string {
  let text = '';
  let copied = 0;
  for (const member of members(object)) {
    if (member.name !== name) continue;
    text += object.slice(copied, member.value.start) + value;
    copied = member.value.end;
  }
  return text + object.slice(copied);
}

function members(object: string): { name: string; value: Span }[] {
  return parts(object).map(({ start, end }) => {
    const nameEnd = endOfString(object, start);
    // A name in JSON is a string.
    const name = JSON.parse(object.slice(start, nameEnd)) as string;
    return { name, value: trimmed(object, object.indexOf(':', nameEnd) + 1, end) };
  });
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What stands between the outermost brackets and their commas. */
function parts(container: string): Span[] {
  const found: Span[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < container.length; at++) {
    const code = container.charCodeAt(at);
    if (code === QUOTE) at = endOfString(container, at) - 1;
    else if (code === COMMA) {
      if (depth !== 1) continue;
      found.push(trimmed(container, start, at));
      start = at + 1;
    } else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      if (++depth === 1) start = at + 1;
    } else if ((code === CLOSE_BRACKET || code === CLOSE_BRACE) && --depth === 0)
      found.push(trimmed(container, start, at));
  }
  // An empty container has one part that holds nothing.
  return found.filter(({ start, end }) => start < end);
}

/** The place after the closing quote. */
function endOfString(json: string, quote: number): number {
  for (let at = json.indexOf('"', quote + 1); ; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
}

function trimmed(json: string, from: number, to: number): Span {
  let start = from;
  let end = to;
  while (start < end && isSpace(json.charCodeAt(start))) start++;
  while (end > start && isSpace(json.charCodeAt(end - 1))) end--;
  return { start, end };
}

/** The four of JSON: space, tab, newline, carriage return. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
