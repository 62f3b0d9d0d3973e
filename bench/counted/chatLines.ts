const FILLER = 'What does a batch of many lines cost, and how long does it take until the last one has its answer? ';

/** Request lines of about `lineBytes` each, in pieces: what a client would upload. */
export function* chatLines({ lines, lineBytes }: { lines: number; lineBytes: number }): Generator<string> {
  const PIECE_LINES = 1_000;
  let piece: string[] = [];
  for (let line = 1; line <= lines; line++) {
    const input = (prompt: string) =>
      `{"custom_id":"request-${line}","method":"POST","url":"/agents/default/invoke","body":{"input":"${prompt}"}}\n`;
    const room = Math.max(1, lineBytes - input('').length);
    piece.push(input(FILLER.repeat(Math.ceil(room / FILLER.length)).slice(0, room)));
    if (piece.length < PIECE_LINES && line < lines) continue;
    yield piece.join('');
    piece = [];
  }
}
