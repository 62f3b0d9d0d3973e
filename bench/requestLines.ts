/** Request lines such as people send: a system prompt, a question in prose with quotes, line breaks and accents. */
const SYSTEM = 'You write product descriptions for a shop. Two sentences, no exclamation marks, no superlatives.';
const PROSE =
  'A kettle of brushed steel, 1.7 litres, with a "keep warm" mode.\nIt boils in four minutes and pours without a drip. ' +
  'Customers ask for it when their old one has begun to leak, or when the café round the corner has closed. ';

export type LineShape = { lineBytes: number };

/** A line of exactly `lineBytes` bytes with its newline, whatever its number: shards can be cut by arithmetic. */
export function requestLine(line: number, { lineBytes }: LineShape): string {
  const id = `request-${String(line).padStart(8, '0')}`;
  // Every tenth has text beyond ASCII.
  const prose = line % 10 === 0 ? PROSE : PROSE.replace('é', 'e');
  const of = (prompt: string) =>
    `${JSON.stringify({
      custom_id: id,
      method: 'POST',
      url: '/v1/chat/completions',
      body: {
        model: 'default',
        messages: [
          { role: 'system', content: SYSTEM },
          { role: 'user', content: prompt },
        ],
        max_tokens: 200,
        temperature: 0.4,
      },
    })}\n`;
  const room = lineBytes - Buffer.byteLength(of(''));
  if (room < 0) throw new Error(`A line has more than ${lineBytes} bytes`);
  let prompt = '';
  while (jsonBytes(prompt + prose) <= room) prompt += prose;
  return of(prompt + '.'.repeat(room - jsonBytes(prompt)));
}

const jsonBytes = (text: string) => Buffer.byteLength(JSON.stringify(text)) - 2;

const PIECE_LINES = 1_000;

/** So many lines from `first` on, in pieces of a thousand. The text repeats, the ids do not. */
export function* requestLines(shape: LineShape & { lines: number; first?: number }): Generator<Buffer> {
  const { lines, lineBytes, first = 1 } = shape;
  const templates = Array.from({ length: 10 }, (_, digit) => requestLine(digit, { lineBytes }));
  const numberAt = '{"custom_id":"request-'.length;
  for (let from = 0; from < lines; from += PIECE_LINES) {
    const count = Math.min(PIECE_LINES, lines - from);
    const piece = Array.from({ length: count }, (_, index) => {
      const line = first + from + index;
      const template = templates[line % 10] ?? '';
      return `${template.slice(0, numberAt)}${String(line).padStart(8, '0')}${template.slice(numberAt + 8)}`;
    });
    yield Buffer.from(piece.join(''));
  }
}
