import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Writes `examples/large.jsonl`: 200,000 agent lines of about 1,000 bytes, 200 MB in all. */
const LINES = 200_000;
const LINE_BYTES = 1_000;

const path = fileURLToPath(new URL('large.jsonl', import.meta.url));
const file = createWriteStream(path);
const filler = 'The quick brown fox jumps over the lazy dog. '.repeat(30);

for (let line = 1; line <= LINES; line++) {
  const request = {
    custom_id: `large-${String(line).padStart(6, '0')}`,
    method: 'POST',
    url: '/agents/summarizer/invoke',
    body: { input: `Summarize text number ${line}: ` },
  };
  const room = LINE_BYTES - JSON.stringify(request).length - 1;
  request.body.input += filler.slice(0, room);
  if (!file.write(`${JSON.stringify(request)}\n`)) await once(file, 'drain');
}
file.end();
await once(file, 'finish');
process.stderr.write(`${path}: ${LINES} lines, ${((LINES * LINE_BYTES) / 1e6).toFixed(0)} MB\n`);
