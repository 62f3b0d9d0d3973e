import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSynthesized, type Synthesized } from '../../docs/drawings/assembly.ts';
import { DRAWINGS, DRAWN, drawnIn, redraw } from '../../docs/drawings.ts';
import { KEY_PREFIXES } from '../../shared/domain/objectKeys.ts';
import { TEST_SETTINGS } from '../support/localRun.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const read = (name: string) => readFileSync(join(DOCS, name), 'utf8');
let from: Synthesized;
beforeAll(async () => {
  // The synth that the tests of the whole local run use as well; the drawings do not depend on settings.
  from = await readSynthesized(TEST_SETTINGS);
});

describe('the drawings of the documents', () => {
  test.each(DRAWN)('those of docs/%s are up to date (npm run docs makes them anew)', (name) => {
    expect(read(name)).toBe(redraw(read(name), from));
  });

  test('are each in one document, and none is missing', () => {
    expect(DRAWN.flatMap((name) => drawnIn(read(name))).sort()).toEqual(Object.keys(DRAWINGS).sort());
  });

  test('a text that differs from the code is found', () => {
    const stale = read('architecture.md').replace('in_progress --> finalizing', 'in_progress --> completed');
    expect(stale).not.toBe(read('architecture.md'));
    expect(redraw(stale, from)).toBe(read('architecture.md'));
    expect(() => redraw('<!-- drawn: nothing -->\n<!-- /drawn -->', from)).toThrow(/no drawing "nothing"/);
  });

  test('name every kind of record and object that the code has a key for', () => {
    const text = read('architecture.md');
    const source = readFileSync(join(DOCS, '../shared/adapters/dynamodb/keys.ts'), 'utf8');
    // `KIND#…` of a partition, 'KIND' or `KIND#…` of a sort key.
    const kinds = new Set([...source.matchAll(/['`]([A-Z]{4,})(?=[#'])/g)].map(([, kind = '']) => kind));
    expect(kinds.size).toBeGreaterThan(10);
    for (const kind of kinds) expect(text).toMatch(new RegExp(`\`${kind}[#\`]`));
    for (const prefix of Object.values(KEY_PREFIXES)) expect(text).toContain(`| \`${prefix}\` |`);
  });
});

describe('the documents', () => {
  test.each([...DRAWN, 'local.md', 'decisions.md'])('docs/%s points to files that are there', (name) => {
    const links = [...read(name).matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, path = '']) => path);
    for (const path of links) expect(() => readFileSync(join(DOCS, path)), path).not.toThrow();
  });

  test.each(DRAWN)('docs/%s names sources that are there', (name) => {
    const named = new Set(
      [...read(name).matchAll(/`((?:shared|infra|functions|local|operations|docs|cli)\/[\w./-]+\.ts)`/g)].map(
        ([, path = '']) => path,
      ),
    );
    for (const path of named) expect(() => readFileSync(join(DOCS, '..', path)), path).not.toThrow();
  });
});
