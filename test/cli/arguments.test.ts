import { describe, expect, test } from 'vitest';
import { readArguments } from '../../cli/batchArguments.ts';

describe('arguments of the batch command', () => {
  test('one file is enough', () => {
    expect(readArguments(['in.jsonl'])).toMatchObject({
      file: 'in.jsonl',
      out: 'results',
      type: undefined,
      window: '24h',
      skipInvalid: false,
      target: { data: '.local', modelArgs: [] },
    });
  });

  test('flags of the model are handed to the local system', () => {
    expect(readArguments(['in.jsonl', '--model-url', 'http://127.0.0.1:8000/v1', '--model', 'm'])).toMatchObject({
      target: { modelArgs: ['--model-url', 'http://127.0.0.1:8000/v1', '--model', 'm'] },
    });
  });

  test('a deployed stage wants its key and a callback', () => {
    expect(() => readArguments(['in.jsonl', '--api', 'https://x'])).toThrow(/--key KEY and --callback URL/);
    expect(readArguments(['in.jsonl', '--api', 'https://x', '--key', 'k', '--callback', 'https://c'])).toMatchObject({
      target: { api: 'https://x', key: 'k', callback: 'https://c' },
    });
  });

  test.each([
    [[], /one input file/],
    [['a', 'b'], /one input file/],
    [['a', '--type', 'CHAT'], /COMPLETIONS or EMBEDDINGS, not CHAT/],
    [['a', '--outt', 'x'], /--outt/],
    [['a', '--key', 'k'], /--key goes with --api/],
  ])('%j is refused with what would be right', (argv, message) => {
    expect(() => readArguments(argv)).toThrow(message);
  });
});
