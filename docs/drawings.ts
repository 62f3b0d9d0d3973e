import type { Synthesized } from './drawings/assembly.ts';
import { drawCheckReasons, drawFunctions, drawRoutes, drawStatuses, drawSteps } from './drawings/contract.ts';
import { drawMachine, drawRetries } from './drawings/machines.ts';
import { drawIndexes, drawObjects, drawRecords } from './drawings/storage.ts';

/** What is drawn from the code's own tables, by the name that stands in the documents' markers. */
export const DRAWINGS: Record<string, (from: Synthesized) => string> = {
  statuses: drawStatuses,
  routes: drawRoutes,
  functions: drawFunctions,
  steps: drawSteps,
  records: drawRecords,
  indexes: drawIndexes,
  objects: drawObjects,
  'batch machine': (from) => drawMachine(from.machine('batch'), from),
  'notification machine': (from) => drawMachine(from.machine('notification'), from),
  'snapshot machine': (from) => drawMachine(from.machine('snapshot'), from),
  retries: (from) => drawRetries([from.machine('batch'), from.machine('notification'), from.machine('snapshot')]),
  'check reasons': drawCheckReasons,
};

/** The documents with drawings in them. */
export const DRAWN = ['architecture.md', 'operations.md'] as const;

const MARKED = /(<!-- drawn: ([a-z ]+) -->\n)[\s\S]*?(<!-- \/drawn -->)/g;

/** The document with its drawings made anew, between `<!-- drawn: name -->` and `<!-- /drawn -->`. */
export function redraw(text: string, from: Synthesized): string {
  return text.replace(MARKED, (_, begin: string, name: string, end: string) => {
    const draw = DRAWINGS[name];
    if (!draw) throw new Error(`There is no drawing "${name}"`);
    return `${begin}\n${draw(from)}\n\n${end}`;
  });
}

/** The names of a document's drawings. */
export function drawnIn(text: string): string[] {
  return [...text.matchAll(MARKED)].map(([, , name = '']) => name);
}
