import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSynthesized } from './drawings/assembly.ts';
import { DRAWN, redraw } from './drawings.ts';

/** Makes the drawings of the documents anew: `npm run docs`. */
const from = await readSynthesized();
for (const name of DRAWN) {
  const path = join(import.meta.dirname, name);
  const text = readFileSync(path, 'utf8');
  const drawn = redraw(text, from);
  if (drawn === text) continue;
  writeFileSync(path, drawn);
  console.log(`docs/${name} is drawn anew`);
}
