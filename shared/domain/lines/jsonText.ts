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
  eachMember(line, 0, (nameStart, nameEnd, start, end) => {
    if (nameAt(line, nameStart, nameEnd) === 'body') body = line.slice(start, end);
  });
  return body;
}

/** The members of an object by name; of a name that comes twice, the last. */
export function memberTexts(object: string): Map<string, string> {
  const texts = new Map<string, string>();
  eachMember(object, 0, (nameStart, nameEnd, start, end) =>
    texts.set(nameAt(object, nameStart, nameEnd), object.slice(start, end)),
  );
  return texts;
}

/** The elements of an array. */
export function elementTexts(array: string): string[] {
  const texts: string[] = [];
  eachPart(array, 0, (start, end) => texts.push(array.slice(start, end)));
  return texts;
}

/** The object with another value under this name, which it has. */
export function withMember(object: string, name: string, value: string): string {
  let text = '';
  let copied = 0;
  eachMember(object, 0, (nameStart, nameEnd, start, end) => {
    if (nameAt(object, nameStart, nameEnd) !== name) return;
    text += object.slice(copied, start) + value;
    copied = end;
  });
  return text + object.slice(copied);
}

/**
 * The members of the first object from `from` on, by the places of their names (with quotes) and of their values; ends
 * are exclusive. Any text that lies before and behind the object is left alone.
 */
export function eachMember(
  json: string,
  from: number,
  visit: (nameStart: number, nameEnd: number, start: number, end: number) => void,
): void {
  eachPart(json, from, (start, end) => {
    const nameEnd = endOfString(json, start);
    visit(start, nameEnd, skipSpace(json, json.indexOf(':', nameEnd) + 1, end), end);
  });
}

/** The string whose quotes are the first and the last character. */
export function nameAt(json: string, start: number, end: number): string {
  const written = json.slice(start + 1, end - 1);
  // A string of JSON is a string.
  return written.includes('\\') ? (JSON.parse(json.slice(start, end)) as string) : written;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What stands between the outermost brackets and their commas, without the space around it. */
function eachPart(json: string, from: number, visit: (start: number, end: number) => void): void {
  let depth = 0;
  let partFrom = from;
  for (let at = from; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) at = endOfString(json, at) - 1;
    else if (code === COMMA) {
      if (depth !== 1) continue;
      visitPart(json, partFrom, at, visit);
      partFrom = at + 1;
    } else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      if (++depth === 1) partFrom = at + 1;
    } else if ((code === CLOSE_BRACKET || code === CLOSE_BRACE) && --depth === 0) {
      visitPart(json, partFrom, at, visit);
      return;
    }
  }
}

/** An empty container has one part, which holds nothing. */
function visitPart(json: string, from: number, to: number, visit: (start: number, end: number) => void): void {
  const start = skipSpace(json, from, to);
  let end = to;
  while (end > start && isSpace(json.charCodeAt(end - 1))) end--;
  if (start < end) visit(start, end);
}

/** The place after the closing quote. */
function endOfString(json: string, quote: number): number {
  for (let at = json.indexOf('"', quote + 1); at !== -1; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
  return json.length;
}

function skipSpace(json: string, from: number, to: number): number {
  let at = from;
  while (at < to && isSpace(json.charCodeAt(at))) at++;
  return at;
}

/** The four of JSON: space, tab, newline, carriage return. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
