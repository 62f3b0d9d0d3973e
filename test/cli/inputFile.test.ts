import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { guessType, inputFileBytes } from '../../cli/inputFile.ts';

const folder = mkdtempSync(join(tmpdir(), 'batch-api-cli-'));
function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('the type of a batch', () => {
  test.each([
    ['/vectors', 'EMBEDDINGS'],
    ['/v1/embeddings', 'EMBEDDINGS'],
    ['/v1/chat/completions', 'COMPLETIONS'],
    ['/agents/a/invoke', 'COMPLETIONS'],
  ])('%s lines make %s', async (url, type) => {
    const line = JSON.stringify({ custom_id: 'a', method: 'POST', url, body: {} });
    expect(await guessType(file('plain.jsonl', `\n${line}\n`))).toBe(type);
    expect(await guessType(file('packed.jsonl.gz', gzipSync(line)))).toBe(type);
  });

  test('damaged gzip is left to the API, after what could be unpacked', async () => {
    const line = JSON.stringify({ custom_id: 'a', method: 'POST', url: '/vectors', body: {} });
    const packed = gzipSync(`${line}\n`.repeat(1000));
    expect(await guessType(file('cut.jsonl.gz', packed.subarray(0, packed.length - 12)))).toBe('EMBEDDINGS');
    expect(await guessType(file('cut-short.jsonl.gz', packed.subarray(0, 5)))).toBe('COMPLETIONS');
  });

  test('lines that tell nothing are left to the API', async () => {
    expect(await guessType(file('bad.jsonl', '<html>\n{"url": 7}\n[]\n'))).toBe('COMPLETIONS');
  });
});

describe('the input file', () => {
  test('must be there, be a file and hold something', async () => {
    await expect(inputFileBytes(join(folder, 'none.jsonl'))).rejects.toThrow(/cannot be read/);
    await expect(inputFileBytes(folder)).rejects.toThrow(/is not a file/);
    await expect(inputFileBytes(file('empty.jsonl', ''))).rejects.toThrow(/is empty/);
    expect(await inputFileBytes(file('good.jsonl', 'abc'))).toBe(3);
  });
});
