import { readFileSync } from 'node:fs';
import { type ModelsFile, ModelsFileSchema } from '../domain/models.ts';

/** `models.json`, which the stack puts beside the bundle of the functions that are marked so in `contract/functions.ts`. */
export function readModels(): ModelsFile {
  return ModelsFileSchema.parse(JSON.parse(readFileSync(new URL('./models.json', import.meta.url), 'utf8')));
}
