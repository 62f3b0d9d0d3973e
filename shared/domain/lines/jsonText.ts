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
  eachMember(line, skipSpace(line, 0), (nameStart, nameEnd, start) => {
    const end = endOfValue(line, start);
    if (isNamed(line, nameStart, nameEnd, 'body')) body = line.slice(start, end);
    return end;
  });
  return body;
}

/** The members of an object by name; of a name that comes twice, the last. */
export function memberTexts(object: string): Map<string, string> {
  const texts = new Map<string, string>();
  eachMember(object, skipSpace(object, 0), (nameStart, nameEnd, start) => {
    const end = endOfValue(object, start);
    texts.set(stringAt(object, nameStart, nameEnd), object.slice(start, end));
    return end;
  });
  return texts;
}

/** The elements of an array. */
export function elementTexts(array: string): string[] {
  const texts: string[] = [];
  let at = skipSpace(array, skipSpace(array, 0) + 1);
  while (at < array.length && array.charCodeAt(at) !== CLOSE_BRACKET) {
    const end = endOfValue(array, at);
    texts.push(array.slice(at, end));
    at = behindComma(array, end);
  }
  return texts;
}

/** The object with another value under this name, which it has. */
export function withMember(object: string, name: string, value: string): string {
  let text = '';
  let copied = 0;
  eachMember(object, skipSpace(object, 0), (nameStart, nameEnd, start) => {
    const end = endOfValue(object, start);
    if (!isNamed(object, nameStart, nameEnd, name)) return end;
    text += object.slice(copied, start) + value;
    copied = end;
    return end;
  });
  return text + object.slice(copied);
}

/**
 * Goes through the members of the object that starts at `object`; answers the place behind it. `visit` is told where a
 * name and its quotes are and where the value starts, and answers the place behind the value.
 */
export function eachMember(
  json: string,
  object: number,
  visit: (nameStart: number, nameEnd: number, start: number) => number,
): number {
  let at = skipSpace(json, object + 1);
  while (json.charCodeAt(at) === QUOTE) {
    const nameEnd = endOfString(json, at);
    const colon = skipSpace(json, nameEnd);
    at = behindComma(json, visit(at, nameEnd, skipSpace(json, colon + 1)));
  }
  return at + 1;
}

/** The place behind the value that starts there. */
export function endOfValue(json: string, start: number): number {
  const first = json.charCodeAt(start);
  if (first === QUOTE) return endOfString(json, start);
  let at = start;
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    while (at < json.length && !endsScalar(json.charCodeAt(at))) at++;
    return at;
  }
  for (let depth = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) at = endOfString(json, at) - 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return at + 1;
  }
  return at;
}

/** `name` needs no escapes; the string there may have some all the same. */
function isNamed(json: string, start: number, end: number, name: string): boolean {
  if (end - start === name.length + 2 && json.startsWith(name, start + 1)) return true;
  return hasEscapes(json, start, end) && stringAt(json, start, end) === name;
}

export function hasEscapes(json: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (json.charCodeAt(at) === BACKSLASH) return true;
  return false;
}

/** What stands there is a string of JSON, with its quotes. */
function stringAt(json: string, start: number, end: number): string {
  return JSON.parse(json.slice(start, end)) as string;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Of longer strings the end is searched, which takes a call; of shorter ones each character is looked at. */
const SHORT_STRING = 24;

/** The place behind the closing quote. */
function endOfString(json: string, quote: number): number {
  let at = quote + 1;
  for (const short = at + SHORT_STRING; at < short; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at++;
  }
  for (at = json.indexOf('"', at); at !== -1; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
  return json.length;
}

/** Behind what is between two members or elements; at the bracket, where there is no more. */
function behindComma(json: string, end: number): number {
  const at = skipSpace(json, end);
  return json.charCodeAt(at) === COMMA ? skipSpace(json, at + 1) : at;
}

function endsScalar(code: number): boolean {
  return code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || isSpace(code);
}

function skipSpace(json: string, from: number): number {
  let at = from;
  while (isSpace(json.charCodeAt(at))) at++;
  return at;
}

/** The four of JSON: space, tab, newline, carriage return. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
