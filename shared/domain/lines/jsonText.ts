/**
 * JSON by its text, for what must go on as it was written. What JavaScript reads may come out another: numbers
 * (12345678901234567890, 1.10, -0), the order of names that are numbers, names that come twice, and names with escapes,
 * which JSON.parse of V8 13.6 takes for others that it has lately seen in such a place (after `{"\\":1}` it reads
 * `{"\n":1}` as `{"\\":1}`). Every text here is one that JSON.parse has taken, so nothing is checked again. Cut text
 * takes no memory of its own; `JSON.rawJSON` would need about 60 bytes for each number of a line of ten megabytes.
 */

/** The text of a good line's `body`. */
export function bodyAsWritten(line: string): string | undefined {
  let body: string | undefined;
  eachMember(line, (name, value) => {
    if (isNamed(line, name, 'body')) body = line.slice(value.start, value.end);
  });
  return body;
}

/** From a character to the one behind the last. */
type Span = { start: number; end: number };

/** The members of an object by name; of a name that comes twice, the last. */
export function memberTexts(object: string): Map<string, string> {
  const texts = new Map<string, string>();
  eachMember(object, (name, value) => texts.set(nameAt(object, name), object.slice(value.start, value.end)));
  return texts;
}

/** The elements of an array. */
export function elementTexts(array: string): string[] {
  const texts: string[] = [];
  eachPart(array, ({ start, end }) => texts.push(array.slice(start, end)));
  return texts;
}

/** The object with another value under this name, which it has. */
export function withMember(object: string, name: string, value: string): string {
  let text = '';
  let copied = 0;
  eachMember(object, (nameSpan, { start, end }) => {
    if (!isNamed(object, nameSpan, name)) return;
    text += object.slice(copied, start) + value;
    copied = end;
  });
  return text + object.slice(copied);
}

/** `name` with its quotes. */
function eachMember(object: string, visit: (name: Span, value: Span) => void): void {
  eachPart(object, ({ start, end }) => {
    const nameEnd = endOfString(object, start);
    visit({ start, end: nameEnd }, trimmed(object, object.indexOf(':', nameEnd) + 1, end));
  });
}

/** A name in JSON is a string. */
function nameAt(object: string, { start, end }: Span): string {
  return JSON.parse(object.slice(start, end)) as string;
}

/** `name` needs no escapes; the text may have some all the same. */
function isNamed(object: string, span: Span, name: string): boolean {
  const written = object.slice(span.start + 1, span.end - 1);
  return written === name || (written.includes('\\') && nameAt(object, span) === name);
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What stands between the outermost brackets and their commas, without the space around it. */
function eachPart(container: string, visit: (part: Span) => void): void {
  let depth = 0;
  let from = 0;
  const end = (at: number) => {
    const part = trimmed(container, from, at);
    // An empty container has one part that holds nothing.
    if (part.start < part.end) visit(part);
  };
  for (let at = 0; at < container.length; at++) {
    const code = container.charCodeAt(at);
    if (code === QUOTE) at = endOfString(container, at) - 1;
    else if (code === COMMA) {
      if (depth !== 1) continue;
      end(at);
      from = at + 1;
    } else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      if (++depth === 1) from = at + 1;
    } else if ((code === CLOSE_BRACKET || code === CLOSE_BRACE) && --depth === 0) end(at);
  }
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
