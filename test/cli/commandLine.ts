import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ROOT } from '../../local/synth.ts';

/** Halves the start of each command after the first: its sources are compiled once. */
const compileCache = mkdtempSync(join(tmpdir(), 'batch-api-compiled-'));

export type Ended = { code: number | null; out: string; err: string };
export type CommandOptions = { program?: 'main' | 'batch'; environment?: Record<string, string> };

/** Starts the command line as a shell does. What the caller's environment has of ours does not reach it. */
export function startCommandLine(args: string[], { program = 'main', environment = {} }: CommandOptions = {}) {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('BATCH_API_'));
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(ROOT, `cli/${program}.ts`), ...args],
    {
      cwd: ROOT,
      env: { ...Object.fromEntries(others), NODE_COMPILE_CACHE: compileCache, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended: Promise<Ended> = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]).then(
    ([out, err, [code]]) => ({ code: code as number | null, out, err }),
  );
  return {
    child,
    ended,
    /** Resolves once stderr has said so. */
    async hasSaid(mark: string): Promise<void> {
      while (!said.includes(mark)) {
        const more = once(child.stderr, 'data');
        const end = ended.then(({ code, err }) => {
          throw new Error(`It ended with ${code} and never said "${mark}": ${err}`);
        });
        await Promise.race([more, end]);
      }
    },
  };
}

/** Runs it to its end. */
export async function commandLine(args: string[], options: CommandOptions = {}): Promise<Ended> {
  return await startCommandLine(args, options).ended;
}
