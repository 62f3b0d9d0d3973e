import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url);
const text = readFileSync(new URL('docs/security.md', ROOT), 'utf8');
/** Rows of the tables of threats: threat, how it is stopped, where, tested in. */
const threats = text.split('\n\n').flatMap((block) =>
  block.startsWith('| threat |')
    ? block
        .trim()
        .split('\n')
        .slice(2)
        .map((line) => line.slice(2, -2).split(' | '))
    : [],
);
const named = (cell: string) =>
  [...cell.matchAll(/`([^`{}]+\.ts|[\w/]+\/|test\/memory)`/g)].map(([, name]) => name ?? '');

const files = globSync(['{functions,infra,shared,test}/**'], { cwd: ROOT }).map((path) => path.replaceAll('\\', '/'));
const isThere = (name: string) =>
  name.includes('/')
    ? globSync(name.replace(/\/$/, ''), { cwd: ROOT }).length > 0
    : files.some((path) => basename(path) === name);

describe('docs/security.md', () => {
  it('has rows to look at', () => expect(threats.length).toBeGreaterThan(30));

  it.each(threats)('%s: names files and tests that are there', (_threat, _how, where, tested) => {
    expect(named(where ?? '')).not.toEqual([]);
    for (const name of [...named(where ?? ''), ...named(tested ?? '')]) expect(isThere(name), name).toBe(true);
  });

  it('says of every threat where it is tested, or that it is the gateway’s own', () => {
    for (const [threat, , , tested = ''] of threats)
      expect(named(tested).length > 0 || tested.includes("API Gateway's own"), threat).toBe(true);
  });
});
