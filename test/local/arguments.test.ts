import { expect, it } from 'vitest';
import { readArguments } from '../../local/arguments.ts';
import { StartError } from '../../local/dataFolder.ts';

it('without flags, the defaults', () => {
  expect(readArguments([])).toEqual({
    port: 4010,
    dataDir: '.local',
    reset: false,
    json: false,
    help: false,
    modelServer: undefined,
  });
});

it('takes every flag', () => {
  const args = '--port 0 --data there --reset --json --model-url http://h/v1 --model a --embedding-model b'.split(' ');
  expect(readArguments(args)).toEqual({
    port: 0,
    dataDir: 'there',
    reset: true,
    json: true,
    help: false,
    modelServer: { url: 'http://h/v1', model: 'a', embeddingModel: 'b' },
  });
});

it.each([
  ['--prot 1', /--prot/],
  ['extra', /extra/],
  ['--port', /--port/],
  ['--port many', /not a port/],
  ['--port 65536', /not a port/],
  ['--port -1', /--port/],
  ['--model a', /--model-url/],
  ['--reset=yes', /--reset/],
])('refuses %s and says why', (args, message) => {
  expect(() => readArguments(args.split(' '))).toThrow(StartError);
  expect(() => readArguments(args.split(' '))).toThrow(message);
});
