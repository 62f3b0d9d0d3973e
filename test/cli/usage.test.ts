import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommanderError } from '@commander-js/extra-typings';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { UsageError } from '../../cli/exitCodes.ts';
import { createProgram } from '../../cli/program.ts';
import { commandLine } from './commandLine.ts';

const folder = mkdtempSync(join(tmpdir(), 'batch-api-usage-'));
const COMMANDS = [
  ...['list', 'get', 'create', 'upload', 'cancel', 'retry', 'download', 'receipt', 'verify', 'webhook-secret'],
  ...['keys', 'keys create', 'keys list', 'keys revoke', 'check'],
];

/** What the program prints, kept from this process's own streams. */
const printed = { out: '', err: '' };
beforeEach(() => {
  Object.assign(printed, { out: '', err: '' });
  for (const [name, stream] of [
    ['out', process.stdout],
    ['err', process.stderr],
  ] as const) {
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      printed[name] += text.toString();
      return true;
    });
  }
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** The program in this process: what it throws decides the exit code. */
async function thrown(args: string[]): Promise<unknown> {
  try {
    await createProgram().parseAsync(args, { from: 'user' });
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('help', () => {
  test('of the program names every command', async () => {
    const { code, out } = await commandLine(['--help']);
    expect(code).toBe(0);
    for (const name of COMMANDS.filter((each) => !each.includes(' ')))
      expect(out).toMatch(new RegExp(`^  ${name} `, 'm'));
  });

  test.each(COMMANDS)('of %s has examples and exit codes', async (name) => {
    expect(await thrown([...name.split(' '), '--help'])).toMatchObject({ exitCode: 0 });
    const { out } = printed;
    expect(out).toContain(`Usage: npm run cli -- ${name}`);
    expect(out).toMatch(/Examples:\n {2}npm run cli -- [\s\S]*Exit codes:\n {2}0 /);
  });
});

describe('a command that is called wrongly says how and ends with 64', () => {
  test.each([
    [[], /Usage:/],
    [['lsit'], /unknown command 'lsit'[\s\S]*list/],
    [['list', '--status', 'done'], /--status[\s\S]*in_progress/],
    [['list', '--take', '101'], /whole number from 1 to 100/],
    [['get'], /missing required argument 'id'/],
    [['get', 'a', 'b'], /too many arguments/],
    [['create'], /a file, or --input-url/],
    [['create', 'none.jsonl'], /none\.jsonl cannot be read/],
    [['create', '--input-url', 'https://127.0.0.1:9'], /--type COMPLETIONS or EMBEDDINGS/],
    [['create', 'package.json', '--window', '8d'], /from 1 minute to 7 days/],
    [['create', 'package.json', '--metadata', 'team'], /key=value/],
    [['verify'], /--receipt FILE/],
    [['verify', '--receipt', 'package.json'], /package\.json is no receipt/],
    [['keys', 'create', '--name', 'n', '--expires', 'soon'], /ISO 8601/],
    [['list', '--api', 'ftp://127.0.0.1', '--key', 'k'], /it must be https/],
    [['list', '--api', 'https://127.0.0.1:9', '--data', 'd'], /one of them/],
  ])('%j', async (args, message) => {
    const error = await thrown(args);
    expect(error instanceof UsageError || error instanceof CommanderError).toBe(true);
    const said = error instanceof UsageError ? error.message : printed.err;
    expect(said).toMatch(message);
    expect(printed.out).toBe('');
  });

  test('whatever is wrong', async () => {
    const [option, argument] = await Promise.all([commandLine(['list', '--bogus']), commandLine(['create'])]);
    expect(option).toMatchObject({ code: 64, out: '', err: expect.stringContaining("unknown option '--bogus'") });
    expect(argument).toMatchObject({ code: 64, out: '', err: expect.stringContaining('--input-url') });
  });

  test('npm run batch, too', async () => {
    const { code, err } = await commandLine(['in.jsonl', '--windwo', '2h'], { program: 'batch' });
    expect({ code, err }).toEqual({ code: 64, err: expect.stringContaining('--windwo') });
  });
});

describe('a command that reaches nothing ends with 1', () => {
  test('and says how the local system is started', async () => {
    const { code, out, err } = await commandLine(['list', '--data', folder]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain(`npm start -- --data ${folder}`);
  });
});
