import { stripVTControlCharacters } from 'node:util';
import Table from 'cli-table3';

/** stdout is for results, stderr for what is said on the way. */
export const say = (line: string) => void process.stderr.write(`${line}\n`);
export const print = (text: string) => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));

/** Names and messages are other people's: nothing of them may steer the terminal, or turn its text round. */
export function printable(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .trim();
}

/** At most so many characters; what is left out shows as `…`. */
export function shortened(text: string, maxCharacters: number): string {
  const characters = [...printable(text)];
  return characters.length <= maxCharacters
    ? characters.join('')
    : `${characters.slice(0, maxCharacters - 1).join('')}…`;
}

export const count = (value: number) => value.toLocaleString('en-US');

/** A time of the API in the reader's own zone, or a dash. */
export function localTime(iso: string | null): string {
  // Swedish writes times as ISO 8601 does: 2026-01-15 10:30:00.
  return iso === null ? '–' : new Date(iso).toLocaleString('sv-SE');
}

export function bytesText(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};
const STYLE = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 };

export type Column<Row> = {
  head: string;
  text: (row: Row) => string;
  align?: 'left' | 'right';
  maxCharacters?: number;
};

/** One row a thing, one line a row: columns are as wide as what is in them, up to their bound. */
export function tableText<Row>(columns: Column<Row>[], rows: readonly Row[]): string {
  const table = new Table({
    head: columns.map(({ head }) => head),
    colAligns: columns.map(({ align }) => align ?? 'left'),
    chars: NO_LINES,
    style: STYLE,
  });
  for (const row of rows)
    table.push(columns.map(({ text, maxCharacters = 40 }) => shortened(text(row), maxCharacters)));
  return trimmedLines(table.toString());
}

/** Names on the left, what they have on the right. */
export function fieldsText(fields: readonly (readonly [string, string])[]): string {
  const table = new Table({ chars: NO_LINES, style: STYLE });
  for (const [name, value] of fields) table.push([name, shortened(value, 200)]);
  return trimmedLines(table.toString());
}

function trimmedLines(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
