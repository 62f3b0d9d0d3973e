import { isUtf8 } from 'node:buffer';
import type { LineProblem } from './lineProblem.ts';
import type { PhysicalLine } from './lineReader.ts';

/** How lines are read; what they ask for is another matter (requestLine.ts). */
export type LineReading = {
  maxLineBytes: number;
  /** The file began like a page of HTML: then its lines say so, also those without a tag. */
  htmlPage?: boolean;
};

/** Of a line, or why it has none. */
export type Text = string | LineProblem;

export type ParsedLine = { value: unknown; text: string } | { problem: LineProblem };

export function looksLikeHtml(text: string): boolean {
  return /^\s*<(!doctype\s+html|html[\s>]|head[\s>]|body[\s>]|!--)/i.test(text);
}

const CUT_OFF: LineProblem = {
  code: 'invalid_json_line',
  param: null,
  message: 'The last line looks cut off: the file ends in the middle of it.',
};

export function textOf(line: PhysicalLine, { maxLineBytes }: LineReading): Text {
  return line.ascii ?? decode(line, maxLineBytes);
}

function decode({ start, end, content, terminated }: PhysicalLine, maxLineBytes: number): Text {
  const problem = (code: LineProblem['code'], message: string) => ({ code, message, param: null });
  if (content === 'too_long')
    return problem('line_too_long', `The line has ${end - start} bytes; ${maxLineBytes} are allowed.`);
  if (isUtf8(content)) return content.toString('utf8');
  if (!terminated && isUtf8UpToItsEnd(content)) return CUT_OFF;
  const utf16 = (content[0] === 0xff && content[1] === 0xfe) || (content[0] === 0xfe && content[1] === 0xff);
  return problem(
    'invalid_utf8',
    utf16
      ? 'The line is not valid UTF-8; it looks like UTF-16. Save the file as UTF-8.'
      : 'The line is not valid UTF-8.',
  );
}

export function parseText(text: Text, { terminated }: PhysicalLine, { htmlPage }: LineReading): ParsedLine {
  if (typeof text !== 'string') return { problem: text };
  try {
    return { value: JSON.parse(text), text };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const problem = (message: string) => ({ problem: { code: 'invalid_json_line', message, param: null } as const });
    if (htmlPage || looksLikeHtml(text))
      return problem(
        'The line is not JSON: it looks like HTML, so the URL may lead to a web page, not to the file itself.',
      );
    if (!terminated && endedTooSoon(error, text)) return { problem: CUT_OFF };
    if (text.startsWith('\ufeff'))
      return problem('The line starts with a byte order mark, which only the file may do.');
    // V8 counts lines inside the text, which would be mistaken for lines of the file; and what it quotes may end in the
    // middle of a character.
    const why = error.message.replace(/ \(line \d+ column \d+\)$/, '').toWellFormed();
    return problem(`The line is not JSON: ${why}${why.endsWith('.') ? '' : '.'}`);
  }
}

/** V8 says so in words, or names a position that is the end. */
function endedTooSoon({ message }: SyntaxError, text: string): boolean {
  return /^(Unterminated|Unexpected end)/.test(message) || message.includes(` at position ${text.length} (`);
}

/** True where nothing is wrong but a character that lacks its last bytes. */
function isUtf8UpToItsEnd(content: Buffer): boolean {
  for (let missing = 1; missing <= 3 && missing < content.length; missing++)
    if ((content[content.length - missing] ?? 0) >= 0xc0) return isUtf8(content.subarray(0, -missing));
  return false;
}
