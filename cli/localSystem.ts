import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { RUN_INFO_FILE, type RunInfo, RunInfoSchema } from '../shared/contract/runInfo.ts';

export type LocalSystem = RunInfo & { stop(): Promise<void> };

const START_SCRIPT = fileURLToPath(new URL('../local/main.ts', import.meta.url));

const isRunning = async (url: string) => {
  try {
    return (await fetch(new URL('/health', url))).ok;
  } catch (error) {
    // `fetch` throws a TypeError where nothing listens.
    if (error instanceof TypeError) return false;
    throw error;
  }
};

/** The local system that runs on this data folder, if one does: it leaves `run.json` there while it runs. */
export async function findLocalSystem(dataDir: string): Promise<LocalSystem | undefined> {
  const path = join(dataDir, RUN_INFO_FILE);
  if (!existsSync(path)) return undefined;
  const ready = RunInfoSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  if (!ready.success || !(await isRunning(ready.data.url))) return undefined;
  // It was there before us and stays.
  return { ...ready.data, stop: async () => {} };
}

/**
 * Starts the local system in a process of its own, on a free port, and waits until it is ready.
 * What it says while it starts goes to our stderr; `args` are handed on (`--data`, `--model-url` …).
 */
export async function startLocalSystem(args: string[]): Promise<LocalSystem> {
  const child = spawn(process.execPath, [START_SCRIPT, '--json', '--port', '0', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // A group of its own: Ctrl-C reaches this process, which then stops the system in order.
    detached: true,
  });
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  const kill = () => child.kill('SIGTERM');
  process.once('exit', kill);
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([
    new Promise<string>((resolve) => lines.once('line', resolve)),
    ended.then((code) => {
      throw new Error(`The local system ended with code ${code} before it was ready; what it said is above.`);
    }),
  ]);
  return {
    ...RunInfoSchema.parse(JSON.parse(first)),
    async stop() {
      process.off('exit', kill);
      kill();
      await ended;
    },
  };
}
